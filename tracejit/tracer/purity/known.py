"""What is known to have no side effects: functions, methods, attributes by name.

A table and not an analysis: C code cannot be read.  What is missing here is refused,
so an entry must be right and a gap is only a lost chance.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import operator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

__all__ = [
    "ATTRIBUTES", "BUILTINS", "CONTAINERS", "HIGHER", "MUTATORS", "READERS",
    "TRANSFORMS", "TUPLES", "VIEWS", "is_ours", "numpy_name", "out_position", "refusal",
]  # fmt: skip

#: NumPy's functions that only compute, by name.
_NUMPY = frozenset(
    """
    abs absolute all allclose amax amin angle any append arange argmax argmin
    argpartition argsort argwhere around array array_equal array_equiv array_split
    asanyarray asarray asarray_chkfinite ascontiguousarray asfortranarray astype
    atleast_1d atleast_2d atleast_3d average bartlett bincount blackman block
    broadcast_arrays broadcast_shapes broadcast_to can_cast choose clip column_stack
    common_type compress concat concatenate convolve copy corrcoef correlate
    count_nonzero cov cross cumprod cumsum cumulative_prod cumulative_sum delete diag
    diag_indices diag_indices_from diagflat diagonal diff digitize dot dsplit dstack
    ediff1d einsum empty empty_like expand_dims extract eye fix flatnonzero flip fliplr
    flipud full full_like geomspace gradient hamming hanning histogram
    histogram_bin_edges hsplit hstack i0 identity imag indices inner insert interp
    intersect1d isclose iscomplexobj isin isneginf isposinf isreal isrealobj isscalar
    issubdtype ix_ kaiser kron lexsort linspace logspace matrix_transpose max mean
    median meshgrid min min_scalar_type moveaxis nan_to_num nanargmax nanargmin
    nancumprod nancumsum nanmax nanmean nanmedian nanmin nanpercentile nanprod
    nanquantile nanstd nansum nanvar ndim nonzero ones ones_like outer pad partition
    percentile permute_dims polyder polyfit polyint polyval polyadd polymul polysub
    prod promote_types ptp quantile ravel ravel_multi_index real real_if_close repeat
    reshape result_type roll rollaxis roots rot90 round row_stack searchsorted select
    setdiff1d setxor1d shape sinc size sort split squeeze stack std sum swapaxes take
    take_along_axis tensordot tile trace transpose trapezoid tri tril tril_indices
    tril_indices_from trim_zeros triu triu_indices triu_indices_from union1d unique
    unravel_index unstack unwrap vander var vdot vsplit vstack where zeros zeros_like
    """.split()
)
_LINALG = frozenset(
    """
    cholesky cond cross det diagonal eig eigh eigvals eigvalsh inv lstsq matmul
    matrix_norm matrix_power matrix_rank matrix_transpose multi_dot norm outer pinv qr
    slogdet solve svd svdvals tensordot tensorinv tensorsolve trace vecdot vector_norm
    """.split()
)
#: Those that give a tuple or a list.
TUPLES = frozenset(
    """
    array_split atleast_1d atleast_2d atleast_3d broadcast_arrays broadcast_shapes
    cov diag_indices diag_indices_from divmod dsplit eig eigh frexp gradient histogram
    hsplit ix_ lstsq meshgrid modf nonzero polyfit qr shape slogdet split svd
    tril_indices tril_indices_from triu_indices triu_indices_from unique unravel_index
    unstack vsplit where
    """.split()
)

#: Functions and methods that may give (a view of) what they are given.
VIEWS = frozenset(
    """
    array asanyarray asarray asarray_chkfinite ascontiguousarray asfortranarray astype
    broadcast_to diagonal expand_dims flip fliplr flipud imag matrix_transpose moveaxis
    nan_to_num permute_dims ravel real real_if_close reshape rollaxis rot90 squeeze
    swapaxes transpose trim_zeros
    """.split()
)
#: Functions of tracejit that put a transform on a function, their first argument.
TRANSFORMS = frozenset("grad value_and_grad jit vmap checkpoint hessian".split())
#: Where `out` is among the positional arguments, where no signature says so; methods.
_OUT = {"dot": 2, "concatenate": 2}
_METHOD_OUT = {
    **dict.fromkeys(("all", "any", "argmax", "argmin", "max", "min", "dot"), 1),
    **dict.fromkeys(("sum", "prod", "cumsum", "cumprod", "mean", "std", "var"), 2),
    **dict.fromkeys(("clip", "take", "compress", "repeat"), 2),
    "round": 1,
    "trace": 4,
}

#: Builtins that only compute; the value says whether the result is a new iterable.
BUILTINS: dict[Any, bool] = {
    **dict.fromkeys(
        (abs, all, any, bool, complex, dict, divmod, float, frozenset, int), False
    ),
    **dict.fromkeys(
        (callable, isinstance, issubclass, len, list, max, min, pow, round, set), False
    ),
    **dict.fromkeys((slice, sorted, sum, tuple, math.fsum), False),
    **dict.fromkeys((enumerate, range, reversed, zip), True),
    **dict.fromkeys(
        (itertools.chain, itertools.combinations, itertools.permutations), True
    ),
    **dict.fromkeys((itertools.pairwise, itertools.product, itertools.repeat), True),
    **dict.fromkeys((itertools.islice, itertools.zip_longest), True),
    **{
        getattr(operator, name): False
        for name in """abs add and_ eq floordiv ge getitem gt inv invert le lt matmul
        mod mul ne neg not_ or_ pos pow sub truediv truth xor""".split()
    },
    **{f: False for f in vars(math).values() if isinstance(f, BuiltinFunctionType)},
}

#: Builtins that call their first argument: how many arguments it gets from items.
HIGHER: dict[Any, str] = {
    map: "map",
    filter: "filter",
    functools.reduce: "reduce",
    itertools.starmap: "starmap",
}

#: Attributes of arrays that are read without effect.
ATTRIBUTES = frozenset("T mT real imag shape dtype ndim size itemsize nbytes".split())

#: Methods of data that only compute.
READERS = frozenset(
    """
    all any argmax argmin argsort astype clip compress conj conjugate copy cumprod
    cumsum diagonal dot flatten max mean min nonzero prod ravel repeat reshape round
    searchsorted squeeze std sum swapaxes take trace transpose var
    index count keys values items get is_integer bit_length union intersection
    difference issubset issuperset isdisjoint
    """.split()
)
#: Methods that change what they are called on.
MUTATORS = frozenset(
    """
    append extend insert pop remove clear sort reverse update add discard setdefault
    popitem fill put itemset resize setflags partition byteswap setfield
    difference_update intersection_update symmetric_difference_update
    """.split()
)

#: What has a method that changes it, where the name says so.
CONTAINERS = {
    **dict.fromkeys("append extend insert reverse sort".split(), "list"),
    **dict.fromkeys("update setdefault popitem".split(), "dict"),
    **dict.fromkeys("add discard".split(), "set"),
}


def is_ours(obj: Any) -> bool:
    """Whether a function, class or object is tracejit's."""
    for holder in (obj, type(obj)):
        module = getattr(holder, "__module__", None)
        if isinstance(module, str) and module.partition(".")[0] == "tracejit":
            return True
    return False


def numpy_name(obj: Any) -> str:
    """The name of a NumPy or SciPy function that only computes, else ""."""
    kind = type(obj)
    if kind.__module__ == "numpy" and kind.__name__ == "ufunc":
        # frompyfunc makes ufuncs of Python functions, over objects only.
        loops = [t for t in obj.types if set(t) - set("O->")]
        return obj.__name__ if loops else ""
    if isinstance(obj, type):
        of_numpy = obj.__module__ == "numpy"
        scalar = of_numpy and any(b.__name__ == "generic" for b in obj.__mro__)
        return obj.__name__ if scalar or (of_numpy and "dtype" in obj.__name__) else ""
    if isinstance(obj, MethodType):
        return ""
    bound = getattr(obj, "__self__", None)
    if bound is not None and not isinstance(bound, ModuleType):
        return ""
    module, name = getattr(obj, "__module__", None), getattr(obj, "__name__", "")
    if module == "numpy" and name in _NUMPY:
        return name
    if module == "numpy.linalg" and name in _LINALG:
        return name
    if module == "numpy.fft" and isinstance(name, str) and not name.startswith("_"):
        return name
    return ""


def out_position(obj: Any) -> int | None:
    """Where `out` stands among positional arguments; for methods, by name."""
    if isinstance(obj, str):
        return _METHOD_OUT.get(obj)
    if type(obj).__name__ == "ufunc":
        return obj.nin
    if obj.__name__ in _OUT:
        return _OUT[obj.__name__]
    try:
        names = list(inspect.signature(obj).parameters)
    except (TypeError, ValueError):
        return None
    return names.index("out") if "out" in names else None


def refusal(obj: Any) -> str:
    """Why a callable that is not in the tables is refused, in words."""
    owner = type(getattr(obj, "__self__", None))
    modules = (getattr(obj, "__module__", None), owner.__module__)
    text = " ".join(m for m in modules if isinstance(m, str))
    if any(part.split(".")[0] == "random" for part in text.split()) or (
        "numpy.random" in text
    ):
        return "a random number is drawn in the loop"
    if obj is next:
        return "an iterator is consumed in the loop"
    if obj is print:
        return "text is printed in the loop"
    if isinstance(obj, FunctionType | MethodType | BuiltinFunctionType | type):
        name = getattr(obj, "__qualname__", repr(obj))
    else:
        name = f"a {type(obj).__name__} object"
    return f"{name} is not known to be free of side effects"
