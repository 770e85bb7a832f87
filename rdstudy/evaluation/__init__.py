"""What a trained code knows about its input, and how likely the model finds it. Nats per example throughout.

    rate = I_q(x; z) + KL(q(z) || p(z))    (Hoffman & Johnson 2016)

Reads encodings and models, returns estimates with their errors: no gradients, no files, no Ray.
"""
