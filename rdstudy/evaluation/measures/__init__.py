"""The measures of a trained model, a file each, named in `rdstudy/study/registry.py`.

The files are read wherever a study or a table is, so they import torch only where they compute.
"""
