"""Priors p(z), one a file; `study/registry.py` names them."""
