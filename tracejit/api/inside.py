"""`f.njit` and `f.cfunc`: what was recorded, for code that Numba or C compiled."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..codegen.callback import SIGNATURES, Callback, c_function
from ..codegen.inside import Path
from ..codegen.numba_face import Face
from ..dispatch import Dispatcher
from ..errors import ArgumentError, UnsupportedError, message
from ..signature import caller, parameter_names, read_call, spec_names

__all__ = ["callback_of", "face_of"]

#: More paths than these are not tried one after the other.
_MAX_PATHS = 16
_CONSTANTS = (bool, int, float, str, type(None))


def face_of(
    kind: str, dispatcher: Dispatcher, examples: Sequence[tuple], miss: str
) -> Face:
    """What compiled code needs to know of the paths that the examples take.

    Raises:
        ArgumentError: examples of different signatures.
        UnsupportedError: what compiled code cannot have: dicts, functions in Python,
            captured arrays that are not contiguous.
    """
    fun = dispatcher.program.fun
    statics = dispatcher.program.statics
    calls = [read_call(args, {}, statics, fun) for args in examples]
    if len({call.key for call in calls}) != 1:
        raise ArgumentError(
            message(
                f"{kind}: the examples of {dispatcher.program.name} differ in "
                "structure, dtypes, shapes or static arguments",
                where=caller(),
                way_out="Call it once for each, which makes functions of their own",
            )
        )
    traces = [dispatcher.trace_for(args, {}) for args in examples]
    # What was recorded before fits these arguments too.
    entry = dispatcher.entries[calls[0].key]
    others = [trace for same in entry.by_path.values() for trace in same]
    traces = list(dict.fromkeys([*traces, *others]))
    paths, first = [], traces[0]
    for trace in traces[:_MAX_PATHS]:
        captured = trace.captured()
        if captured is None:
            continue
        again = trace.captured() or []
        captured = [*captured, *trace.constants]
        path = Path(trace.tape, _bound(kind, captured, [*again, *trace.constants]))
        _refuse_hosts(kind, path)
        _refuse_writes(kind, trace, calls[0])
        if _results(trace) != _results(first) or trace.result[0] != first.result[0]:
            raise UnsupportedError(
                message(
                    f"{kind}: the paths of {dispatcher.program.name} return different "
                    "kinds of results",
                    where=caller(),
                    way_out="Let all of them return equal shapes and dtypes",
                )
            )
        paths.append(path)
    text, constants = first.result
    _refuse_containers(kind, text, constants)
    parameters, leaves = _leaves(kind, calls[0], fun)
    avals = [first.tape.avals[ref] for ref in first.tape.inputs]
    return Face(
        dispatcher.program.name,
        parameters,
        list(zip(leaves, avals, strict=False)),
        _results(first),
        text,
        constants,
        paths,
        message(f"{dispatcher.program.name}: {miss}"),
    )


def _results(trace: Any) -> list[Any]:
    return [trace.tape.avals[ref] for ref in trace.tape.outputs]


def _bound(kind: str, first: Sequence[Any], second: Sequence[Any]) -> tuple:
    """The captured arrays, which are bound by reference.

    Both sequences are the same arrays, looked up twice: what a kernel cannot take as it
    is has been copied, anew each time.
    """
    for array, again in zip(first, second, strict=True):
        flags = array.flags
        if array is not again or not (flags.c_contiguous and flags.aligned):
            raise UnsupportedError(
                message(
                    f"{kind}: a captured array of shape {array.shape} is not "
                    "contiguous in memory",
                    where=caller(),
                    way_out="Let the function use np.ascontiguousarray of it, made "
                    "outside, or pass it as an argument",
                )
            )
    return tuple(first)


def _refuse_hosts(kind: str, path: Path) -> None:
    pairs = zip(path.program.hosts, path.hosts, strict=True)
    names = [host.name for host, made in pairs if not made.is_native]
    if names:
        raise UnsupportedError(
            message(
                f"{kind}: {path.program.name} calls {', '.join(dict.fromkeys(names))} "
                "in Python, and compiled code cannot wait for that",
                where=caller(),
                way_out="Compile the function with numba.njit, or call "
                f"{path.program.name} from Python",
            )
        )


def _refuse_writes(kind: str, trace: Any, call: Any) -> None:
    """Refuse writes into arguments that the caller, or another argument, would see."""
    effects = trace.effects
    if effects is None:
        return
    arrays = sum(np.ndim(value) > 0 for value in call.raw)
    if effects.delivered or arrays + len(trace.looked_up) + len(trace.constants) > 1:
        raise UnsupportedError(
            message(
                f"{kind}: {trace.tape.name} writes into its arguments",
                where=caller(),
                way_out="Let it write into copies of them",
            )
        )


def _refuse_containers(kind: str, text: str, constants: Sequence[Any]) -> None:
    wrong = "unflatten(" in text or "{" in text
    if wrong or not all(isinstance(c, _CONSTANTS) for c in constants):
        raise UnsupportedError(
            message(
                f"{kind}: the function returns a dict or another container or object",
                where=caller(),
                way_out="Return arrays and numbers in tuples",
            )
        )


def _leaves(kind: str, call: Any, fun: Callable) -> tuple[list[str], list[str]]:
    """Names of the parameters, and the traced leaves as expressions of them."""
    arguments = call.spec.child(0)
    names = parameter_names(fun, arguments.num_children)
    names = [n if n.isidentifier() else f"x{i}" for i, n in enumerate(names)]
    leaves = spec_names(call.spec, names)
    traced = set(call.traced)
    parameters, start = [], 0
    for name, child in zip(names, arguments.children(), strict=True):
        mine = [i in traced for i in range(start, start + child.num_leaves)]
        texts = leaves[start : start + child.num_leaves]
        start += child.num_leaves
        if not any(mine):
            continue  # static: bound now
        if not all(mine) or any("['" in text for text in texts):
            raise UnsupportedError(
                message(
                    f"{kind}: argument {name} is a dict or has static parts",
                    where=caller(),
                    way_out="Pass arrays, numbers and tuples of them",
                )
            )
        parameters.append(name)
    return parameters, [leaves[i] for i in call.traced]


# --- C functions ---------------------------------------------------------------------

_SAMPLER = "int64 (uint64, double *, double *, double *, void *)"
_F64 = np.dtype(np.float64)


def callback_of(
    transform: Any,
    example: tuple,
    more: Sequence[tuple],
    signature: str,
    user_data: int,
) -> Callback:
    """The C function of a transform; see `Transform.cfunc`."""
    dispatcher = transform._used()
    examples = [example, *map(tuple, more)]
    face = face_of("cfunc", dispatcher, examples, "")
    chosen = _signature(face, signature, user_data)
    given = _given(face, chosen, user_data)
    sampler = chosen == _SAMPLER
    _check_results(face, sampler, user_data)
    own = [aval.shape for _, aval in face.leaves][: len(face.leaves) - user_data]
    count = own[0][0] if own[0] else len(own)
    python = _in_python(transform, face, sampler)
    return c_function(face, chosen, given, python, count)


def _refuse(text: str, way_out: str) -> UnsupportedError:
    return UnsupportedError(message(f"cfunc: {text}", where=caller(), way_out=way_out))


def _signature(face: Face, signature: str, user_data: int) -> str:
    """The signature's text; the first that fits if none is given."""
    if signature == "sampler":
        return _SAMPLER
    if not signature:
        first = (
            "double (double" if _is_scalar(face, user_data) else "double (int, double *"
        )
        signature = first + (", void *)" if user_data else ")")
    if signature not in SIGNATURES:
        known = ", ".join(f"{text!r}" for text in SIGNATURES)
        raise _refuse(f"signature={signature!r}", f"Use 'sampler' or one of {known}")
    if user_data and "void" not in signature:
        raise _refuse(
            f"user_data={user_data} with {signature!r}, which has none",
            "Use the signature with void *",
        )
    return signature


def _is_scalar(face: Face, user_data: int) -> bool:
    own = face.leaves[: len(face.leaves) - user_data]
    return len(own) == 1 and not own[0][1].shape


def _given(face: Face, signature: str, user_data: int) -> list[str]:
    """Each parameter as an expression of the C function's arguments."""
    shapes = [aval.shape for _, aval in face.leaves]
    dtypes = {aval.dtype for _, aval in face.leaves}
    plain = [text for text, _ in face.leaves] == list(face.parameters)
    if dtypes != {_F64} or not plain or any(len(s) > 1 for s in shapes):
        raise _refuse(
            f"the arguments of {face.name} are not floats and one-dimensional float64 "
            "arrays",
            "Let a function of such arguments call it",
        )
    count = len(shapes) - user_data
    own, data = shapes[:count], shapes[count:]
    if "double *" not in signature:
        if own != [()]:
            raise _refuse(
                f"{signature!r} for a function of other arguments than one float",
                "Use 'double (int, double *)'",
            )
        given = ["x"]
    else:
        given = _from_memory("xx", own)
    if not own:
        raise _refuse("all arguments come from user_data", "Leave one to the caller")
    return given + _from_memory("data", data)


def _from_memory(name: str, shapes: Sequence[tuple[int, ...]]) -> list[str]:
    """Floats one behind the other, or an array."""
    if len(shapes) == 1 and shapes[0]:
        return [f"carray({name}, ({shapes[0][0]},))"]
    if any(shapes):
        raise _refuse(
            "several arguments, one of them an array, would be read from one place",
            "Pass one array, or floats only",
        )
    return [f"{name}[{k}]" for k in range(len(shapes))]


def _check_results(face: Face, sampler: bool, user_data: int) -> None:
    avals = list(face.results)
    if sampler:
        good = (
            face.expression.startswith("(o[0], o[1]")
            and len(avals) == 2
            and len(face.leaves) == 1 + user_data
            and avals[0].shape == ()
            and avals[1] == face.leaves[0][1]
            and avals[1].shape
            and {a.dtype for a in avals} == {_F64}
        )
        if not good:
            raise _refuse(
                f"{face.name} does not return a float and its gradient by one array",
                "Use value_and_grad of a function of one float64 array",
            )
    elif "," in face.expression or len(avals) != 1 or avals[0].shape:
        raise _refuse(
            f"{face.name} does not return one float",
            "Use jit, or grad of a function of one float",
        )


def _report(error: BaseException) -> None:
    """Hand an error to `sys.unraisablehook`, as ctypes does for its callbacks."""

    def again() -> None:
        raise error

    ctypes.CFUNCTYPE(None)(again)()


def _in_python(transform: Any, face: Face, sampler: bool) -> Callable[..., Any]:
    """What a C function calls where no path fits: it answers, or reports and NaN."""

    def python(*args: Any) -> Any:
        try:
            found = transform(*[np.array(a) if np.ndim(a) else float(a) for a in args])
            if sampler:
                return float(found[0]), np.ascontiguousarray(found[1])
            return float(found)
        except BaseException as error:
            _report(error)
            return (np.nan, np.full(len(args[0]), np.nan)) if sampler else np.nan

    return python
