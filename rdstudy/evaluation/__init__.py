"""Information measures and likelihoods of trained models, as estimates with errors. Nats per example.

    rate = I_q(x; z) + KL(q(z) || p(z))    (Hoffman & Johnson 2016)

This room reads encodings and models and returns estimates. It needs no gradients, files or Ray.
"""

import rdstudy.study  # noqa: F401  A study file's sections are made from the measures in this room, so it comes first.
