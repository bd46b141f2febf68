"""The recorder, and every way in which a traced value could leave the trace."""

import copy
import gc
import math
import operator
import pickle
import sys
import threading
import warnings
import weakref

import numpy as np
import pytest
from numpy import array as kept_array
from scipy import special

from tests.numpy_api.check import check, close, record
from tracejit.errors import ConcretizationError, TracejitError, UnsupportedError
from tracejit.interpret import interpret, verify
from tracejit.tracer import (
    SERVED,
    Recorder,
    Tracer,
    active_recorder,
    recording,
    user_source,
    where,
)

X = np.array([0.5, -1.5, 2.0])
Y = np.zeros(3)
OUT = "Write it with supported NumPy functions, or compute it outside the function"


def raised(program, *args):
    """The class of a recording's error, and its text after the position."""
    with pytest.raises(TracejitError) as caught:
        record(program, *args)
    position, _, text = str(caught.value).partition(": ")
    line = program.__code__.co_firstlineno
    assert position.startswith("test_tracer.py:")
    assert position.endswith(f" in {program.__name__}")
    assert line <= int(position.split(":")[1].split()[0]) <= line + 6
    return type(caught.value), text


# --- the recorder ---------------------------------------------------------------------


def test_the_tape():
    def program(x, w):
        return np.sum(x * w + 1.0)

    (out,), rec, _ = record(program, X, 0.5)
    tape = verify(rec.finish_trace([out.ref]))
    line = program.__code__.co_firstlineno + 1
    assert repr(tape) == (
        "tape program(%0: f64[3], %1: f64[]):\n"
        f"  %2: f64[3] = mul %0 %1                        ; test_tracer.py:{line}\n"
        f"  %3: f64[] = 1.0                               ; test_tracer.py:{line}\n"
        f"  %4: f64[3] = add %2 %3                        ; test_tracer.py:{line}\n"
        f"  %5: f64[] = sum %4 {{axes=(0,)}}                ; test_tracer.py:{line}\n"
        "  return %5"
    )


def test_captures_are_hidden_inputs_after_the_arguments():
    a, b = np.ones(3), np.full(3, 2.0)

    def program(x, y):
        return x * a + b * y + a

    (out,), rec, inputs = record(program, X, X)
    tape = verify(rec.finish_trace([out.ref]))
    assert len(tape.inputs) == 4
    assert [c is k for c, k in zip(rec.captures, (a, b), strict=True)] == [True, True]
    b[:] = 0
    (again,) = interpret(tape, [*inputs, *rec.captures])
    close(again, X + 1)


def test_an_array_written_to_after_its_use():
    def program(x):
        y = x * X
        X[0] += 1.0
        return y + X

    before = X.copy()
    try:
        kind, text = raised(program, before)
    finally:
        X[:] = before
    line = program.__code__.co_firstlineno + 1
    assert kind is UnsupportedError
    assert text == (
        "an ordinary array that met a traced value at "
        f"test_tracer.py:{line} in program was written to afterwards. Finish the array "
        "before its first use, or use a copy there."
    )


def test_an_array_written_to_at_the_end():
    w = np.array([0.0, np.nan, 1.0])

    def program(x):
        y = x * w
        w[0] = 1.0
        return y

    (out,), rec, _ = record(program, X)
    with pytest.raises(UnsupportedError, match="was written to afterwards"):
        rec.finish_trace([out.ref])


def test_values_of_emitted_instrs_are_computed_on_demand():
    rec = Recorder()
    x = rec.input_tracer(X)
    y = x.ref
    for _ in range(5000):  # deeper than Python's recursion limit
        y = y + 1.0
    assert rec.values[y.index] is None
    close(rec.value(y), X + 5000)


def test_large_values_live_as_long_as_their_tracers():
    rec = Recorder()
    x = rec.input_tracer(np.ones(50_000))
    with recording(rec):
        first = x * 2.0
        alive = weakref.ref(
            first.concrete.base
            if first.concrete.base is not None
            else rec.value(first.ref)
        )
        second = first + 1.0
        ref = first.ref.index
        assert alive() is not None
        del first
        assert alive() is None
        # A transform asks for it again.
        assert (rec.value(rec.ref(ref)) == 2.0).all()
        assert (second.concrete == 3.0).all()
        assert (rec.value(rec.ref(ref) + second.ref) == 5.0).all()


def test_emitted_values_can_be_used_by_the_users_code():
    rec = Recorder()
    x = rec.input_tracer(X)
    twice = rec.tracer(x.ref + x.ref)
    with recording(rec):
        close((twice * 2).concrete, X * 4)


def test_recordings_nest_and_end():
    outer, inner = Recorder("outer"), Recorder("inner")
    assert active_recorder() is None
    with recording(outer):
        with recording(inner):
            assert active_recorder() is inner
        assert active_recorder() is outer
        assert inner.closed
    assert active_recorder() is None
    assert outer.closed


def test_a_user_exception_leaves_nothing_behind():
    originals = [getattr(module, name) for module, name in SERVED]

    def program(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        record(program, X)
    assert active_recorder() is None
    assert [getattr(module, name) for module, name in SERVED] == originals


def test_a_tracer_that_outlives_its_recording():
    kept = []
    record(lambda x: kept.append(x) or x, X)
    with pytest.raises(TracejitError) as caught:
        kept[0] + 1
    assert str(caught.value).endswith(
        "a traced value of '<lambda>' was used after its recording. "
        "Return the value from the function instead of storing it."
    )


def test_values_of_two_recordings():
    other = Recorder("other").input_tracer(X)

    def program(x):
        return x + other

    kind, text = raised(program, X)
    assert kind is TracejitError
    assert text == (
        "values of two recordings meet: 'other' and 'program'. Return values from the "
        "inner function."
    ) or text == (
        "values of two recordings meet: 'program' and 'other'. Return values from the "
        "inner function."
    )


@pytest.mark.parametrize("dtype", [np.float16, np.clongdouble, object, "U3", "M8[s]"])
def test_dtypes_that_no_tape_holds(dtype):
    with pytest.raises(UnsupportedError) as caught:
        Recorder().input_tracer(np.zeros(2, dtype))
    assert str(caught.value).endswith(
        f": arrays of dtype {np.dtype(dtype)} cannot be recorded. Use float64, "
        "float32, complex128, complex64, an integer dtype or bool."
    )


def test_user_source_is_the_first_frame_outside_the_libraries():
    line = sys._getframe().f_lineno + 1
    source = user_source()
    assert (source.line, source.function) == (
        line,
        "test_user_source_is_the_first_frame_outside_the_libraries",
    )
    assert where(source) == f"test_tracer.py:{line} in {source.function}"


# --- NumPy's module while somebody records --------------------------------------------


def test_creation_functions():
    check(lambda x: np.array([x[0], x[1]]), X)
    check(lambda x: np.array([[x[0], 0.0], [1, x[1]]]), X)
    check(lambda x: np.array([x, x * 2]), X)
    check(lambda x: np.array([x[0], 1], dtype=np.float32), X)
    check(lambda x: np.array([x[0], 2.0]), X.astype(np.float32))
    check(lambda x: np.array([n, n + 1] if (n := x) is None else [x, x]), 3)
    check(lambda x: np.array(x, ndmin=2), X)
    check(lambda x: np.asarray(x), X)
    check(lambda x: np.asarray([x[0], 1.0]), X)
    check(lambda x: np.asanyarray((x, x)), X)
    check(lambda x: np.ascontiguousarray(x), X)
    check(lambda x: np.full(3, x[0]), X)
    check(lambda x: np.full((2, 2), x[0], dtype=np.float32), X)
    check(lambda n: np.arange(n), 4)
    check(lambda x, n: x * np.eye(n), X, 3)
    check(lambda x, n: x * np.zeros(n), X, 3)


def test_functions_of_lists():
    check(lambda x: np.sum([x[0], x[1], 2.0]), X)
    check(lambda x: np.mean([x, x]), X)
    check(lambda x: np.max([x[0], 0.0]), X)
    check(lambda x: np.linalg.norm([x[0], x[1]]), X)
    check(lambda x: np.dot([x[0], x[1]], [1.0, 2.0]), X)
    check(lambda i: np.take(X, i), 2)
    check(lambda x: np.full_like(X, x[0]), X)


def test_asarray_is_the_array_itself_and_array_a_copy():
    (same, other), _, _ = record(lambda x: [np.asarray(x) is x, np.array(x) is x], X)
    assert (same, other) == (True, False)


def test_numpy_is_as_it_was_after_the_last_recording():
    before = np.array
    a, b = Recorder(), Recorder()
    with recording(a):
        assert np.array is not before
        with recording(b):
            pass
        assert np.array is not before
    assert np.array is before


def test_other_threads_notice_nothing():
    found = []

    def other():
        tracer_of_nobody = active_recorder()
        found.append((tracer_of_nobody, type(np.array([1.0, 2.0])), np.full(2, 1.0)))

    def program(x):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return np.array([x[0], 1.0])

    record(program, X)
    ((recorder, kind, full),) = found
    assert recorder is None
    assert kind is np.ndarray
    close(full, np.ones(2))


def test_two_threads_record_at_once():
    barrier = threading.Barrier(2)
    results = {}

    def work(scale):
        def program(x):
            barrier.wait()
            y = np.array([x[0] * scale, 1.0])
            barrier.wait()
            return y

        (out,), _, _ = record(program, X)
        results[scale] = out.concrete

    before = np.array
    threads = [threading.Thread(target=work, args=(s,)) for s in (2.0, 3.0)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    close(results[2.0], np.array([1.0, 1.0]))
    close(results[3.0], np.array([1.5, 1.0]))
    assert np.array is before


# --- what it looks like ---------------------------------------------------------------


def test_isinstance():
    def program(x, s, r, n):
        assert isinstance(x, np.ndarray)
        assert isinstance(s, np.float32)
        assert isinstance(s, np.floating)
        assert isinstance(r, float)
        assert isinstance(n, int)
        assert not isinstance(x, float)
        assert isinstance(x[0], float)  # np.float64 is a float
        assert isinstance(x > 0, np.ndarray)
        assert np.isscalar(x[0])
        assert not np.isscalar(x)
        assert np.iterable(x)
        assert callable(x.sum)
        assert hasattr(x, "shape")
        assert not hasattr(x, "toarray")
        return x

    record(program, X, np.float32(1), 0.5, 3)


def test_text():
    def program(x, r):
        return [
            repr(x),
            str(x),
            f"{x[0]:.2f}",
            f"{r}",
            str(r),
            np.array_repr(x),
        ]

    texts, _, _ = record(program, X, 0.5)
    assert texts == [
        "array([ 0.5, -1.5,  2. ])",
        "[ 0.5 -1.5  2. ]",
        "0.50",
        "0.5",
        "0.5",
        "array([ 0.5, -1.5,  2. ])",
    ]


def test_copies():
    def program(x):
        for y in (copy.copy(x), copy.deepcopy(x), x.copy(), np.copy(x), +x):
            y += 1.0  # the copy, not x
        return x

    check(program, X)
    check(lambda d: copy.deepcopy({"a": [d]})["a"][0] * 2, X)


# --- control flow ---------------------------------------------------------------------


def test_bool_guards():
    def program(x, n):
        y = x
        if x[0] > 0:
            y = y * 2
        while y.sum() < 10:
            y = y * 2
        if n:
            y = y + 1
        if not (0 < x[0] < 1):
            y = -y
        assert x.size
        return y

    rec = check(program, X, 3)
    assert [g.expected for g in rec.guards] == [
        True,
        True,
        True,
        True,
        False,
        True,
        True,
        True,
    ]
    assert [g.exit for g in rec.guards] == list(range(8))
    lines = [g.source.line - program.__code__.co_firstlineno for g in rec.guards]
    assert lines == [2, 4, 4, 4, 4, 6, 8, 8]


def test_int_guards():
    def program(x, n):
        for i in range(n):
            x = x + i
        return x * int(x[2]) + round(x[0]) + math.floor(x[1]) + math.ceil(x[1])

    rec = check(program, X, 3)
    assert [g.expected for g in rec.guards] == [3, 5, 4, 1, 2]
    assert all(type(g.expected) is int for g in rec.guards)


def test_builtins():
    check(lambda x: max(x[0], 0), X)
    check(lambda x: max(x[1], 0), X)
    check(lambda x: min(x[0], x[1], 1.0), X)
    check(lambda x: sorted([x[0], x[1], x[2]]), X)
    check(lambda x: sum([x[0], x[1]]), X)
    check(lambda x: sum(x), X)
    check(lambda x: x[0] in [1.0, x[0]], X)
    check(lambda x: any(v > 1 for v in x), X)
    check(lambda x: abs(x), X)
    check(lambda x: pow(x, 2), X)
    check(lambda x: divmod(x, 2), X)
    check(lambda x: round(x[0], 0), X)
    check(lambda x: operator.index(x), 3)
    check(lambda x: [x[0]] * len(x), X)
    check(lambda x, n: [1] * n, X, 2)
    check(lambda x: np.float64(2) * x + np.float32(1) * x[0], X)
    check(lambda x: [[1, 2][n] for n in (x,)], 1)


def test_comparison_with_what_is_no_number():
    check(lambda x: x == None, X)  # noqa: E711
    check(lambda x: x[0] != None, X)  # noqa: E711
    check(lambda x: [x == "a", x[0] == "a", x[1] in [None, "a"]], X)
    check(lambda x: x if x is not None else 0, X)


def test_ambiguous_truth_is_numpys_error():
    with pytest.raises(ValueError, match="truth value of an array with more than one"):
        record(lambda x: 1 if x > 0 else 2, X)
    with pytest.raises(ValueError, match="cannot convert float NaN to integer"):
        record(lambda x: int(x), np.nan)


# --- leaving the trace ----------------------------------------------------------------

LEAVING = {
    "math.sin": (
        lambda x: math.sin(x[0]),
        "(f64[]) would become a Python float in math.sin(). Use np.sin.",
    ),
    "math.gamma": (
        lambda x: math.gamma(x[0]),
        "(f64[]) would become a Python float in math.gamma(). Use scipy.special.gamma.",
    ),
    "math.isclose": (
        lambda x: math.isclose(x[0], 1),
        f"(f64[]) would become a Python float in math.isclose(). {OUT}.",
    ),
    "float": (
        lambda x: float(x[0]),
        (
            "(f64[]) would become a Python float in float(). Leave the conversion "
            "away: "
            "a traced scalar works like a NumPy scalar."
        ),
    ),
    "item": (
        lambda x: x[0].item(),
        f"(f64[]) would become a Python number. {OUT}.",
    ),
    "tolist": (
        lambda x: x.tolist(),
        (
            "(f64[3]) would become a list of Python numbers in x.tolist(). Leave the "
            "conversion away: a traced scalar works like a NumPy scalar."
        ),
    ),
    "complex": (
        lambda x: complex(x[0]),
        (
            "(f64[]) would become a Python complex in complex(). Leave the conversion "
            "away: a traced scalar works like a NumPy scalar."
        ),
    ),
    "np.float64": (
        lambda x: np.float64(x[0]),
        (
            "(f64[]) would become an ordinary array in np.float64(). Leave the "
            "conversion "
            "away: a traced scalar works like a NumPy scalar."
        ),
    ),
    "pickle": (
        lambda x: pickle.dumps(x),
        f"(f64[3]) would become bytes (pickle) in pickle.dumps(). {OUT}.",
    ),
    "from numpy import array": (
        lambda x: kept_array([x[0], 1.0]),
        (
            "(f64[]) would become an ordinary array in np.array(). Call it as np.array,"
            " by this name, or use np.stack."
        ),
    ),
    "index": (
        lambda x: X[x > 0],
        (
            "(bool[3]) would become an ordinary array. To index an ordinary array "
            "with a "
            "traced one, write np.take(array, index, axis)."
        ),
    ),
    "logsumexp": (
        lambda x: special.logsumexp(x),
        (
            "(f64[3]) would become an ordinary array in scipy.special.logsumexp(). Use "
            "tracejit.scipy.special.logsumexp."
        ),
    ),
    "softmax": (
        lambda x: special.softmax(x, axis=0),
        (
            "(f64[3]) would become an ordinary array in scipy.special.softmax(). Use "
            "tracejit.scipy.special.softmax."
        ),
    ),
    "log_softmax": (
        lambda x: special.log_softmax(x),
        (
            "(f64[3]) would become an ordinary array in scipy.special.log_softmax(). "
            "Use "
            "tracejit.scipy.special.log_softmax."
        ),
    ),
    "a list for a ufunc": (
        lambda x: np.exp([x[0], x[1]]),
        (
            "(f64[]) would become an ordinary array in np.exp(). Give it one array: "
            "np.array([...]) makes one of traced values."
        ),
    ),
}


@pytest.mark.parametrize("name", LEAVING)
def test_leaving(name):
    program, expected = LEAVING[name]
    kind, text = raised(program, X)
    assert kind is ConcretizationError
    assert text == f"a traced value {expected}"


def test_item_assignment_into_an_ordinary_array():
    out = np.zeros(2)

    def program(x):
        for i in range(2):
            out[i] = x[i]
        return out

    kind, text = raised(program, X)
    assert kind is ConcretizationError
    assert text == (
        "a traced value (f64[]) would become a Python float. They can be written into "
        "an array of the function's own, made by np.zeros, np.empty or np.copy."
    )


def test_slice_assignment_into_an_ordinary_array():
    out = np.zeros(3)

    def program(x):
        out[:] = x

    kind, text = raised(program, X)
    assert kind is ConcretizationError
    assert text == (
        "a traced value (f64[3]) would become an ordinary array. They can be written "
        "into an array of the function's own, made by np.zeros, np.empty or np.copy."
    )


def test_hash():
    def program(x):
        return {x[0]: 1}

    kind, text = raised(program, X)
    assert kind is ConcretizationError
    assert text == (
        "unhashable type: a traced value (f64[]) as a dict key or set element. Use a "
        "list, or a key that does not depend on the arguments."
    )


REFUSED = {
    "complex look-up": (
        lambda x: np.searchsorted(x, 1j * x),
        "looking up complex numbers cannot be recorded. Use np.abs or a part.",
    ),
    "order": (
        lambda x: np.ravel(x[None], order="K"),
        (
            "order='K', which asks for the place in memory, cannot be recorded. Use "
            "order='C' or order='F'."
        ),
    ),
    "out": (
        lambda x: np.sum(x, out=np.zeros(())),
        (
            "writing a traced value into an ordinary array (np.sum) cannot be recorded."
            " Write into an array of the function's own, made by np.zeros, np.empty or "
            "np.copy."
        ),
    ),
    "attribute": (
        lambda x: x.ctypes,
        (
            "the attribute 'ctypes' of a traced array cannot be recorded. Ask about "
            "the ordinary array outside the function."
        ),
    ),
    "resize": (
        lambda x: x.resize(4),
        (
            "a.resize(), which writes into the traced array, cannot be recorded. Make "
            "a new array instead."
        ),
    ),
    "copyto": (
        lambda x: np.copyto(Y, x),
        (
            "writing a traced value into an ordinary array (np.copyto) cannot be "
            "recorded. Write into an array of the function's own, made by np.zeros, "
            "np.empty or np.copy."
        ),
    ),
    "astype": (
        lambda x: x.astype(np.longdouble),
        (
            f"arrays of dtype {np.dtype(np.longdouble)} cannot be recorded. Use "
            "float64, float32, complex128, complex64, an integer dtype or bool."
        ),
    ),
    "object array": (
        lambda x: np.array([x[0], x[1]], dtype=object),
        (
            "np.array(..., dtype=object) of traced values cannot be recorded. Keep "
            "them in "
            "a list."
        ),
    ),
    "captured half": (
        lambda x: np.dot(x, np.ones(3, np.float16)),
        (
            "arrays of dtype float16 cannot be recorded. Use float64, float32, "
            "complex128, complex64, an integer dtype or bool."
        ),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    program, expected = REFUSED[name]
    kind, text = raised(program, X)
    assert kind is UnsupportedError
    assert text == expected


def test_attribute_errors_are_pythons():
    with pytest.raises(AttributeError, match="'ndarray' object has no attribute 'foo'"):
        record(lambda x: x.foo, X)


def test_object_arrays_of_tracers():
    def program(x):
        box = np.empty(2, dtype=object)
        box[0], box[1] = x[0], x[1]
        return x[:2] + box

    (out,), _, _ = record(program, X)
    assert type(out) is Tracer
    close(out.concrete, 2 * X[:2])


def test_errors_of_shapes_are_numpys():
    for program in (
        lambda x: x + np.ones(4),
        lambda x: np.dot(x, np.ones(4)),
        lambda x: x @ np.ones((4, 4)),
        lambda x: np.reshape(x, (2, -1)),
        lambda x: np.concatenate([x, np.ones((2, 2))]),
        lambda x: np.sum(x, axis=1),
        lambda x: np.stack([x, x[:2]]),
        lambda x: np.einsum("ij->i", x),
        lambda x: np.einsum("i,i->", x, np.ones(4)),
        lambda x: np.linalg.solve(np.zeros((2, 2)), x[:2]),
        lambda x: np.linalg.inv(x),
        lambda x: np.linalg.cholesky(-np.eye(2) * x[0]),
        lambda x: np.max(x[:0]),
        lambda x: np.argmax(x[:0]),
        lambda x: np.matmul(x[0], x),
        lambda x: np.inner(x, np.ones(2)),
        lambda x: np.vdot(x, np.ones(2)),
        lambda x: np.broadcast_to(x, (2, 2)),
        lambda x: np.squeeze(x, 0),
        lambda x: np.split(x, 2),
        lambda x: np.transpose(x, (1, 0)),
    ):
        with pytest.raises(Exception) as numpys:  # noqa: PT011
            program(X)
        with pytest.raises(type(numpys.value)) as ours:
            record(program, X)
        assert str(ours.value) == str(numpys.value)


# --- NumPy's warnings -----------------------------------------------------------------


def logarithm(x):
    return np.log(x - 0.5)


def quietly(x):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(x - 0.5)


def test_warnings_are_numpys_at_the_users_line():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        record(logarithm, X)
    assert {str(w.message) for w in caught} == {
        "divide by zero encountered in log",
        "invalid value encountered in log",
    }
    assert {w.filename for w in caught} == {__file__}
    assert {w.lineno for w in caught} == {logarithm.__code__.co_firstlineno + 1}
    assert {w.category for w in caught} == {RuntimeWarning}


@pytest.mark.parametrize(
    ("program", "text"),
    [
        (lambda x: x / 0, "divide by zero encountered in divide"),
        (lambda x: np.exp(x * 1e4), "overflow encountered in exp"),
        (lambda x: (x * 1e300) * 1e300, "overflow encountered in multiply"),
        (lambda x: np.mean(x[:0]), "Mean of empty slice."),
        (lambda x: np.var(x[:1], ddof=1), "Degrees of freedom <= 0 for slice"),
    ],
)
def test_texts_of_warnings(program, text):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        record(program, X)
    assert str(caught[0].message) == text
    assert caught[0].lineno == program.__code__.co_firstlineno


def test_the_users_error_state_is_honoured():
    check(quietly, X)  # warnings are errors in tests
    with (
        np.errstate(all="raise"),
        pytest.raises(FloatingPointError, match="divide by zero encountered in log"),
    ):
        record(logarithm, np.abs(X))
    with np.errstate(all="ignore"):
        record(logarithm, X)
    assert np.geterr()["divide"] == "warn"


def test_the_users_own_callback():
    seen = []

    def program(x):
        with np.errstate(invalid="ignore"):
            return np.log(x - 0.5)

    with np.errstate(divide="call", call=lambda kind, flag: seen.append(kind)):
        record(program, X)
    assert seen == ["divide by zero"]


def test_a_warning_as_error_comes_from_the_users_line():
    with pytest.raises(RuntimeWarning, match="encountered in log"):
        record(logarithm, X)
    assert active_recorder() is None


def test_plain_numpy_in_a_recording_warns_as_ever():
    def program(x):
        return x + np.log(np.zeros(3))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        record(program, X)
    assert str(caught[0].message) == "divide by zero encountered in log"
    assert caught[0].lineno == program.__code__.co_firstlineno + 1


def test_the_garbage_collector_waits_for_the_recording():
    seen = []

    def fail():
        with recording(Recorder()):
            with recording(Recorder()):
                seen.append(gc.isenabled())
            seen.append(gc.isenabled())
            raise ZeroDivisionError

    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == [False, False]
    assert gc.isenabled()


def test_the_garbage_collector_stays_off_if_it_was():
    gc.disable()
    try:
        with recording(Recorder()):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_a_rolled_loop_computed_is_let_go():
    rec = Recorder()
    with recording(rec):
        x = rec.input_tracer(np.arange(3.0))
        for _ in range(50):
            x = np.sin(x)
        rec.roll(0, [x.ref])
    assert [i.prim.name for i in rec.instrs] == ["loop"]
    assert sum(value is not None for value in rec.values) == 2  # input and result
    np.testing.assert_allclose(rec.value(x.ref), x.concrete)
