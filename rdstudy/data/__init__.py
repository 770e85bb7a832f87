"""Data sets (images as one array of bytes) and their splits into training and test sets.

The package imports nothing, so that reading a study file does not import NumPy.
"""
