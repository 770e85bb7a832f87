"""Tests of `rdstudy.analysis`."""

from hypothesis import settings

PROPERTY = settings(max_examples=50, deadline=None)
"""For property tests: no deadline, since machines that share their cores have none to keep."""
