"""Tests of `rdstudy.analysis`."""
