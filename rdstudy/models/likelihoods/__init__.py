"""Likelihoods p(x|z), one a file; `study/registry.py` names them."""
