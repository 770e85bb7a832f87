"""Encoders and decoders, one kind a file; `study/registry.py` names them."""
