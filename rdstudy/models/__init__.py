"""Variational autoencoders: one as a plain module, K of one shape as a stack."""
