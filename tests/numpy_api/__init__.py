"""Tests of the NumPy functions on tracers."""
