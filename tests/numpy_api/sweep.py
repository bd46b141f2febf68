"""Programs of one line, drawn operands, and what is compared.

A text is a call as a user writes it.  Its small letters are traced operands, its
capital ones are options; both are drawn anew each time, so that shapes, axes, keywords
and dtypes meet.  The value, dtype, shape and warnings of a recording are held against
NumPy's own, its reverse derivative against five-point differences, and the forward one
against the reverse one.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from inspect import signature
from typing import Any, NamedTuple

import numpy as np

from tests.numpy_api.check import close, flatten, record
from tracejit.interpret import interpret, verify
from tracejit.passes.jvp import jvp
from tracejit.passes.vjp import vjp
from tracejit.tracer import Tracer

#: In the order in which they are drawn: later ones take their shape from earlier ones.
LETTERS = "x y f h i j b r z v w m n o c s p t e u q g k d".split()
SAME_AS_X = "y f h i j b"


class Case(NamedTuple):
    """One drawn program."""

    text: str
    function: Callable[..., Any]
    names: list[str]
    arrays: list[np.ndarray]


def names_in(text: str) -> set[str]:
    """The names that a text leaves free."""
    bound = {
        part.arg
        for part in ast.walk(ast.parse(text, mode="eval"))
        if isinstance(part, ast.arg)
    }
    used = {
        part.id
        for part in ast.walk(ast.parse(text, mode="eval"))
        if isinstance(part, ast.Name)
    }
    return used - bound


def head(text: str) -> str:
    """The entry that a text is about: `np.sum`, `ndarray.sum`, `np.add.reduce`."""
    tree: ast.AST = ast.parse(text, mode="eval").body
    found = ""
    while isinstance(tree, (ast.Attribute, ast.Subscript, ast.Call)):
        if isinstance(tree, ast.Call):
            tree = tree.func
            found = ast.unparse(tree)
        elif isinstance(tree, ast.Subscript):
            tree = tree.concrete
            found = f"{ast.unparse(tree)}.__getitem__"
        else:
            found = found or ast.unparse(tree)
            tree = tree.concrete
        root = found.split(".")[0]
        if root == "np" and not any(isinstance(p, ast.Call) for p in ast.walk(tree)):
            return found.removesuffix(".__getitem__")
        if root.isidentifier() and isinstance(tree, ast.Name):
            return f"ndarray{found[len(root) :]}"
        if not isinstance(tree, ast.Name):
            found = "" if isinstance(tree, (ast.Call, ast.Subscript)) else found
    raise ValueError(f"no entry in {text!r}")


def keywords_in(text: str) -> set[str]:
    """The keywords that the calls of a text give by name."""
    return {
        part.arg
        for part in ast.walk(ast.parse(text, mode="eval"))
        if isinstance(part, ast.keyword) and part.arg
    }


def draw(text: str, rng: np.random.Generator, dtype: str = "f8") -> Case:
    """Operands and options for a text."""
    wanted = names_in(text)
    arrays: dict[str, np.ndarray] = {}
    sizes = rng.integers(2, 5, size=3)
    small = int(rng.integers(2, 4))
    shape = tuple(rng.integers(1, 5, size=rng.integers(1, 4)))
    if {"ROW", "COLUMN"} & wanted:
        shape = tuple(rng.integers(1, 5, size=rng.integers(2, 4)))

    def normal(*size: int) -> np.ndarray:
        return rng.normal(size=size)

    def regular(*lead: int) -> np.ndarray:
        return normal(*lead, small, small) * 0.4 + 2.0 * np.eye(small)

    made: dict[str, Callable[[], np.ndarray]] = {
        "x": lambda: normal(*shape),
        "y": lambda: normal(*shape),
        "f": lambda: rng.uniform(0.5, 3.0, size=shape),
        "h": lambda: rng.uniform(-0.8, 0.8, size=shape),
        "i": lambda: rng.integers(-4, 6, size=shape),
        "j": lambda: rng.integers(1, 6, size=shape),
        "b": lambda: rng.random(shape) < 0.6,
        "r": lambda: normal(*shape[-1:]),
        "z": lambda: np.where(rng.random(shape) < 0.3, np.nan, normal(*shape)),
        "v": lambda: normal(sizes[0] + 2),
        "w": lambda: normal(sizes[0] + 2),
        "m": lambda: normal(sizes[0], sizes[1]),
        "o": lambda: normal(sizes[0], sizes[1]),
        "n": lambda: normal(sizes[1], sizes[2]),
        "c": lambda: normal(*sizes),
        "s": lambda: regular(),
        "p": lambda: regular() @ np.eye(small),
        "t": lambda: regular(2),
        "e": lambda: normal(small, 2),
        "u": lambda: normal(small),
        "q": lambda: normal(),
        "g": lambda: normal(3),
        "k": lambda: np.sort(normal(sizes[0] + 2)) + np.arange(sizes[0] + 2),
        "d": lambda: normal(4, 6),
    }
    for name in LETTERS:
        if name in wanted:
            arrays[name] = np.asarray(made[name]())
    if "p" in arrays:
        arrays["p"] = arrays["p"] @ arrays["p"].T + np.eye(small)
    for name, array in arrays.items():
        if array.dtype == np.float64 and dtype != "f8":
            scaled = array * 3 if dtype[0] in "iu" else array
            if dtype == "?":
                arrays[name] = array > 0
            elif not np.isnan(array).any() or dtype == "f4":
                arrays[name] = (abs(scaled) if dtype[0] == "u" else scaled).astype(
                    dtype
                )
    first = next(iter(arrays.values())).ndim if arrays else 1
    options = _options(rng, wanted, first, shape, sizes)
    names = [name for name in LETTERS if name in arrays]
    function = eval(f"lambda {', '.join(names)}: {text}", {"np": np, **options})
    given = ", ".join(f"{key}={value!r}" for key, value in options.items())
    shown = ", ".join(f"{n}: {a.dtype.str}{list(a.shape)}" for n, a in arrays.items())
    label = f"{text}  [{given}] {shown}"
    return Case(label, function, names, [arrays[name] for name in names])


def _options(rng: Any, wanted: set[str], ndim: int, shape: Any, sizes: Any) -> dict:
    axes = rng.permutation(ndim)[: rng.integers(1, ndim + 1)] if ndim else []
    signed = tuple(int(a - ndim if rng.random() < 0.5 else a) for a in axes)
    made = {
        "AXIS": lambda: int(rng.integers(-ndim, ndim)),
        "AXIS2": lambda: int(rng.integers(-ndim, ndim)),
        "NAXIS": lambda: [None, int(rng.integers(-ndim, ndim))][rng.integers(2)],
        "AXES": lambda: [signed, signed[0], None][rng.integers(3)],
        "TUPLE": lambda: signed,
        "KEEP": lambda: bool(rng.integers(2)),
        "FLAG": lambda: bool(rng.integers(2)),
        "MASK": lambda: rng.random(shape) < 0.7,
        "ROW": lambda: rng.random(shape[-1:]) < 0.7,
        "COLUMN": lambda: rng.random((*shape[:-1], 1)) < 0.7,
        "FLOAT": lambda: ["f4", "f8", float][rng.integers(3)],
        "DDOF": lambda: int(rng.integers(0, 2)),
        "SMALL": lambda: int(rng.integers(-2, 3)),
        "COUNT": lambda: int(rng.integers(1, 4)),
        "ORDER": lambda: "CFAK"[rng.integers(4)],
        "ORDER2": lambda: "CF"[rng.integers(2)],
        "SIDE": lambda: ["left", "right"][rng.integers(2)],
        "PERM": lambda: tuple(int(a) for a in rng.permutation(ndim)),
        "WIDTH": lambda: int(rng.integers(0, 4)),
        "WIDTHS": lambda: [tuple(map(int, rng.integers(0, 4, 2))) for _ in range(ndim)],
        "QUANTILE": lambda: rng.uniform(0.05, 0.95),
        "QUANTILES": lambda: rng.uniform(0.05, 0.95, size=rng.integers(1, 3)),
    }
    return {name: make() for name, make in made.items() if name in wanted}


# --- the same program in other words ---


def with_out(text: str, rng: np.random.Generator) -> Case | None:
    """A call with `out=`, of ufuncs with `where=` too; None if it has no such thing."""
    case = draw(text, rng)
    call = ast.parse(text, mode="eval").body
    if not isinstance(call, ast.Call) or {"out", "copy"} & keywords_in(text):
        return None
    try:
        function = eval(ast.unparse(call.func), {"np": np})
        takes = (
            isinstance(function, np.ufunc) or "out" in signature(function).parameters
        )
    except (NameError, ValueError, AttributeError):
        takes = False
    found = plain(case)[0] if takes else []
    if len(found) != 1 or not np.ndim(found[0]):
        return None  # arrays of shape () cannot be written to
    made = f"np.full({found[0].shape}, 2.5).astype({found[0].dtype.str!r})"
    more = [ast.keyword("out", ast.parse(made, mode="eval").body)]
    elementwise = isinstance(function, np.ufunc) and function.signature is None
    if elementwise and "where" not in keywords_in(text) and rng.random() < 0.5:
        mask = (rng.random(found[0].shape) < 0.7).tolist()
        more.append(ast.keyword("where", ast.parse(f"np.array({mask})").body[0].value))
    call.keywords += more
    other = eval(
        f"lambda {', '.join(case.names)}: {ast.unparse(call)}",
        {**case.function.__globals__},
    )
    return Case(f"{case.text} with out=", other, case.names, case.arrays)


def as_method(text: str, rng: np.random.Generator) -> Case | None:
    """A function of one array as a method of it; None where NumPy has none."""
    case = draw(text, rng)
    call = ast.parse(text, mode="eval").body
    if not (isinstance(call, ast.Call) and call.args):
        return None
    function, first = ast.unparse(call.func), ast.unparse(call.args[0])
    name = function.removeprefix("np.")
    if not function.startswith("np.") or first not in case.names:
        return None
    if not hasattr(np.ndarray, name) or name == "resize":
        return None
    call.func = ast.Attribute(call.args.pop(0), name)
    call = ast.fix_missing_locations(call)
    other = eval(
        f"lambda {', '.join(case.names)}: {ast.unparse(call)}",
        {**case.function.__globals__},
    )
    return Case(f"{case.text} as a method", other, case.names, case.arrays)


# --- comparing ------------------------------------------------------------------------


def plain(case: Case) -> tuple[list[Any], set[tuple[type, str]]]:
    """NumPy's own result and warnings."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        expected = flatten(case.function(*[a.copy() for a in case.arrays]))
    return expected, _texts(seen)


def _texts(seen: Any) -> set[tuple[type, str]]:
    # One ufunc of ours may be several of NumPy's, each with its name in the text.
    return {(w.category, str(w.message).partition(" encountered in ")[0]) for w in seen}


def compare(case: Case) -> tuple[list[Any], Any, list[Any]]:
    """Value, dtype, shape and warnings; the tape is valid and gives the same."""
    expected, numpys = plain(case)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        leaves, rec, inputs = record(case.function, *case.arrays)
    assert _texts(seen) == numpys, f"{_texts(seen)} {numpys} {case.text}"
    assert len(leaves) == len(expected), case.text
    for leaf, want in zip(leaves, expected, strict=True):
        if type(leaf) is Tracer:
            near(leaf.concrete, want, case.text)
        else:
            assert np.array_equal(leaf, want), case.text
    outputs = [leaf for leaf in leaves if type(leaf) is Tracer]
    tape = verify(rec.finish_trace([t.ref for t in outputs]))
    with np.errstate(all="ignore"):
        again = interpret(tape, [*inputs, *rec.captures])
    for value, out in zip(again, outputs, strict=True):
        near(value, out.concrete, case.text)
    return leaves, rec, inputs


def near(actual: Any, expected: Any, text: str) -> None:
    """Equal dtype and shape, and values within a few ulp of the largest one."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype, f"{text}: {actual.dtype}, {expected.dtype}"
    assert actual.shape == expected.shape, f"{text}: {actual.shape}, {expected.shape}"
    if expected.dtype.kind != "f":
        close(actual, expected)
        return
    rtol = 1e-11 if expected.dtype.itemsize == 8 else 5e-5
    finite = np.abs(expected[np.isfinite(expected)])
    size = float(finite.max()) if finite.size else 1.0
    np.testing.assert_allclose(
        actual, expected, rtol=rtol, atol=rtol * max(size, 1.0), err_msg=text
    )


def weights_of(shape: tuple[int, ...]) -> np.ndarray:
    """Different for every element, so that a permuted gradient shows."""
    return np.cos(1.0 + np.arange(np.prod(shape, dtype=int))).reshape(shape)


def weighted(leaves: list[Any]) -> Any:
    """One number of all float results; what is NaN has no derivative to look at."""
    floats = [np.asarray(v) for v in leaves if np.asarray(v).dtype.kind == "f"]
    return sum(np.where(np.isnan(v), 0, v * weights_of(v.shape)).sum() for v in floats)


def cotangent(value: Any) -> np.ndarray:
    """The derivative of `weighted` by one result."""
    weights = weights_of(np.shape(value))
    return np.where(np.isnan(value), 0, weights).astype(value.dtype)


def directional(case: Case, directions: list[Any], h: float = 1e-3) -> Any:
    """d/dt sum of outputs . weights along the directions, by five points."""

    def at(t: float) -> Any:
        moved = [
            a if d is None else a + t * d
            for a, d in zip(case.arrays, directions, strict=True)
        ]
        return weighted(flatten(case.function(*moved)))

    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


def gradients(case: Case) -> tuple[list[Any], list[Any]] | None:
    """The gradient of the weighted outputs by reverse mode, and the directions.

    None where no output is a traced float.  Along the way the forward derivative is
    held against the reverse one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leaves, rec, inputs = record(case.function, *case.arrays)
        outs = [t for t in leaves if type(t) is Tracer and t.dtype.kind == "f"]
        floats = [i for i, a in enumerate(case.arrays) if a.dtype.kind == "f"]
        if not outs or not floats:
            return None
        wrt = [rec.ref(rec.inputs[i]) for i in floats]
        cts = [rec.capture(cotangent(t.concrete)) for t in outs]
        pulled = vjp(rec, [t.ref for t in outs], cts, wrt)
        rng = np.random.default_rng(7)
        moves = [rng.normal(size=case.arrays[i].shape) for i in floats]
        tangents = [
            rec.capture(np.asarray(d).astype(case.arrays[i].dtype))
            for d, i in zip(moves, floats, strict=True)
        ]
        pushed = jvp(rec, 0, wrt, tangents, [t.ref for t in outs])
        found = [r for r in [*pulled, *pushed] if r is not None]
        tape = rec.finish_trace(found)
        with np.errstate(all="ignore"):
            values = iter(interpret(tape, [*inputs, *rec.captures]))
        reverse = [None if r is None else next(values) for r in pulled]
        forward = [None if r is None else next(values) for r in pushed]
    directions: list[Any] = [None] * len(case.arrays)
    for i, d in zip(floats, moves, strict=True):
        directions[i] = d
    gradient: list[Any] = [None] * len(case.arrays)
    for i, g in zip(floats, reverse, strict=True):
        gradient[i] = g
    along = project(gradient, directions)
    with np.errstate(invalid="ignore"):  # the sum of inf and -inf
        ahead = sum(
            np.where(np.isnan(t.concrete), 0, v * weights_of(v.shape)).sum()
            for v, t in zip(forward, outs, strict=True)
            if v is not None
        )
    rtol = 2e-3 if single(case, outs) else 1e-8
    if np.isfinite(along):
        sizes = [np.abs(g).max(initial=1.0) for g in gradient if g is not None]
        scale = float(max(sizes, default=1.0))
        np.testing.assert_allclose(
            ahead, along, rtol=rtol, atol=rtol * scale, err_msg=case.text
        )
    return gradient, directions


def single(case: Case, outs: list[Any]) -> bool:
    """Whether single precision is involved."""
    return any(a.dtype == np.float32 for a in [*case.arrays, *outs]) or (
        "float32" in case.text or "'f4'" in case.text
    )


def project(gradient: list[Any], directions: list[Any]) -> Any:
    return sum(
        (np.asarray(g, np.float64) * d).sum()
        for g, d in zip(gradient, directions, strict=True)
        if g is not None and d is not None
    )


def differentiate(case: Case) -> bool:
    """Hold the gradient against differences; whether there was one that is not 0."""
    found = gradients(case)
    if found is None:
        return False
    gradient, directions = found
    actual = project(gradient, directions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = directional(case, directions)
        if np.isnan(actual):
            # As JAX has it: no derivative of 0 / 0 or of the root of 0.
            values = flatten(case.function(*case.arrays))
            assert any(np.any(~np.isfinite(v) | (v == 0)) for v in values), case.text
            return False
        rtol = 1e-2 if single(case, []) else 1e-6
        for step, exact in ((1e-6, 1e-5), (1e-8, 1e-3)):
            # Two elements may have changed places: a smaller step, less exact.
            if not np.allclose(actual, expected, rtol, rtol):
                expected = directional(case, directions, step)
                rtol = max(rtol, exact)
    np.testing.assert_allclose(actual, expected, rtol, rtol, err_msg=case.text)
    return any(g is not None and np.any(g != 0) for g in gradient)
