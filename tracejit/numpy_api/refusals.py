"""What is not served of NumPy's public namespace, and what to write instead.

Three kinds: functions that take arrays and are refused, with a way out of their own;
functions that nothing traced can be given to, which run as they are; and the classes
and modules beside the array functions.
"""

from __future__ import annotations

from ..tracer import HINTS

__all__ = ["PLAIN", "REFUSALS"]

_DATES = "Convert dates to numbers outside the function"
_FILES = "Return the array and write it outside the function"
_MEMORY = "Ask about the ordinary array outside the function"
_NO_UFUNC = "Call the function on a whole array, or declare it with tracejit.primitive"
_WINDOW = "Make the window outside the function"

#: Name -> what to write instead.
REFUSALS: dict[str, str] = {
    "np.asmatrix": "Use np.atleast_2d",
    "np.base_repr": "Return the number and print it outside the function",
    "np.binary_repr": "Return the number and print it outside the function",
    "np.bmat": "Use np.block",
    "np.broadcast": "Use np.broadcast_arrays",
    "np.busday_count": _DATES,
    "np.busday_offset": _DATES,
    "np.datetime_as_string": _DATES,
    "np.format_float_positional": "Use an f-string",
    "np.format_float_scientific": "Use an f-string",
    "np.from_dlpack": "Use the array itself",
    "np.frombuffer": "Use x.astype for another dtype",
    "np.fromiter": "Use np.array([...])",
    "np.frompyfunc": _NO_UFUNC,
    "np.is_busday": _DATES,
    "np.isfortran": _MEMORY,
    "np.isnat": _DATES,
    "np.kaiser": "Write np.i0(beta * np.sqrt(1 - t * t)) / np.i0(beta)",
    "np.lib.stride_tricks.as_strided": ("Use np.lib.stride_tricks.sliding_window_view"),
    "np.matrix": "Use np.atleast_2d",
    "np.may_share_memory": _MEMORY,
    "np.ndenumerate": "Use np.ndindex(x.shape)",
    "np.nested_iters": "Use np.ndindex(x.shape)",
    "np.nditer": "Use np.ndindex(x.shape)",
    "np.packbits": "Use np.bitwise_or of shifted columns",
    "np.save": _FILES,
    "np.savetxt": _FILES,
    "np.savez": _FILES,
    "np.savez_compressed": _FILES,
    "np.shares_memory": _MEMORY,
    "np.unpackbits": "Use np.right_shift and np.bitwise_and",
    "np.vectorize": _NO_UFUNC,
    **{
        f"np.{name}": _WINDOW for name in ("bartlett", "blackman", "hamming", "hanning")
    },
    "np.polynomial": "Use np.polyval, with the highest coefficient first",
    "np.testing": "Write assert np.allclose(a, b)",
    "np.char": "Handle text outside the function",
    "np.fft": "Write the transform as a product with a matrix",
    "np.ma": "Use np.where with a mask of your own",
    "np.random": "Draw outside the function and pass the numbers as an argument",
    "np.rec": "Use one array for each field",
    "np.strings": "Handle text outside the function",
}

# fmt: off
#: Names that take nothing traced, and run as they are.
PLAIN = frozenset(f"np.{name}" for name in (
    "broadcast_shapes", "datetime_data", "diag_indices", "fromfile", "fromfunction",
    "fromregex", "fromstring", "genfromtxt", "get_include", "get_printoptions",
    "getbufsize", "geterr", "geterrcall", "indices", "info", "isdtype", "isscalar",
    "issubdtype", "iterable", "load", "loadtxt", "mask_indices", "mintypecode",
    "printoptions", "promote_types", "row_stack", "set_printoptions",
    "setbufsize", "seterr",
    "seterrcall", "show_config", "show_runtime", "test", "tril_indices",
    "triu_indices", "typename", "linalg.test", "fft.fftfreq", "fft.rfftfreq",
    # classes
    "busdaycalendar", "dtype", "errstate", "finfo", "flatiter", "iinfo", "memmap",
    "ndarray", "ndindex", "poly1d", "recarray", "ufunc",
))
# fmt: on

HINTS.update(REFUSALS)
