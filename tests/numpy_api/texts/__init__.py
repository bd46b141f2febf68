"""The texts of the sweep, a module for each family; see `tests/numpy_api/sweep.py`."""

from . import elementwise, indexing, linalg, reductions, shape, ufunc_methods

FAMILIES = (reductions, shape, elementwise, indexing, linalg, ufunc_methods)

#: Texts that are differentiated, and texts that are only computed.
SMOOTH = [text for family in FAMILIES for text in family.SMOOTH]
CONSTANT = [text for family in FAMILIES for text in family.CONSTANT]
