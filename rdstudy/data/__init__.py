"""What models are trained and tested on: images as one array of bytes, and which of them are train and test.

Importing the package imports nothing else, so that reading a study file needs no arrays.
"""
