"""Compiled gradients of plain NumPy functions."""
