"""The table of what is served is complete, true, and is what the documentation says."""

from __future__ import annotations

import runpy
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.numpy_api import sweep
from tests.numpy_api.check import record
from tests.numpy_api.texts import CONSTANT, SMOOTH
from tracejit.errors import TracejitError
from tracejit.numpy_api.refusals import PLAIN, REFUSALS
from tracejit.numpy_api.table import ENTRIES, implements
from tracejit.tracer import FUNCTIONS, full_name

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "generate_numpy_support.py"
SUPPORT = runpy.run_path(str(SCRIPT))

#: Texts that are about each entry.
TEXTS: dict[str, list[str]] = {}
for _text in SMOOTH + CONSTANT:
    TEXTS.setdefault(sweep.head(_text), []).append(_text)

#: What has tests of its own: writes and the buffers for them, complex numbers,
#: transforms, text for people.
ELSEWHERE = set(
    """ndarray.fill ndarray.put ndarray.sort ndarray.partition np.array2string
    np.array_repr np.array_str np.copyto np.empty np.fill_diagonal np.ones np.place
    np.put np.put_along_axis np.putmask np.unique_values np.zeros np.linalg.eig
    np.linalg.eigvals np.angle np.imag ndarray.imag
    np.sort_complex""".split()
)


def elsewhere(name):
    return name in ELSEWHERE or name.startswith(("scipy.", "np.fft.", "np.emath."))


ENTERED = [e for e in ENTRIES.values() if not elsewhere(e.name)]


def test_a_function_has_one_implementation():
    with pytest.raises(TracejitError, match=r"^np\.i0 has an implementation$"):
        implements(np.i0)(lambda x: x)


def test_every_entry_has_a_text():
    assert [e.name for e in ENTERED if e.name not in TEXTS] == []


def test_every_keyword_is_in_a_text():
    missing = {}
    for entry in ENTERED:
        if entry.kind != "ufunc":
            used = set().union(*[sweep.keywords_in(t) for t in TEXTS[entry.name]])
            if unused := set(entry.keywords) - used:
                missing[entry.name] = unused
    assert missing == {}


def test_gradients_are_where_the_table_says():
    smooth = {sweep.head(text) for text in SMOOTH} & set(ENTRIES)
    assert {name for name in smooth if not ENTRIES[name].gradient} == set()
    assert {e.name for e in ENTERED if e.gradient} - smooth == set()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("entry", ENTERED, ids=lambda e: e.name)
def test_what_the_table_says_is_true(entry):
    """A derivative that is not zero, and a host call, where it says so."""
    texts = TEXTS[entry.name]
    seen = False
    for k in range(8):
        for text in texts:
            case = sweep.draw(
                text, np.random.default_rng([zlib.crc32(text.encode()), k])
            )
            seen = seen or not entry.gradient or bool(moves(case))
        if seen:
            break
    assert seen
    assert any(calls_back(texts[0], k) for k in range(4)) == entry.host


def moves(case):
    with np.errstate(all="ignore"):
        found = sweep.gradients(case)
    return found and any(g is not None and np.any(g != 0) for g in found[0])


def calls_back(text, seed):
    """Whether a routine of NumPy's is on the tape of a text."""
    case = sweep.draw(text, np.random.default_rng(seed))
    with np.errstate(all="ignore"):
        _, rec, _ = record(case.function, *case.arrays)
    return any(i.prim.host for i in rec.instrs)


def test_enough_is_differentiable():
    own = [e for e in ENTRIES.values() if not e.name.startswith("scipy")]
    assert sum(e.gradient for e in own) >= 330


def test_the_page_is_not_stale():
    written = SUPPORT["PAGE"].read_text(encoding="utf-8")
    assert written == SUPPORT["page"](), "run python docs/generate_numpy_support.py"


# --- NumPy's namespace ----------------------------------------------------------------


def public_names():
    modules = {
        "np": np,
        "np.linalg": np.linalg,
        "np.fft": np.fft,
        "np.emath": np.emath,
        "np.lib.stride_tricks": np.lib.stride_tricks,
    }
    for prefix, module in modules.items():
        for name in getattr(module, "__all__", ("as_strided", "sliding_window_view")):
            value = getattr(module, name, None)
            if isinstance(value, type) and issubclass(
                value, (np.generic, BaseException)
            ):
                continue
            if name.startswith("_"):
                continue
            if callable(value) or name in ("r_", "c_"):
                yield f"{prefix}.{name}", value


def is_served(name, value):
    if name in ENTRIES or full_name(value) in ENTRIES:
        return True
    return value.__hash__ is not None and value in FUNCTIONS


def test_every_public_name_is_served_or_refused_or_plain():
    left = [
        name
        for name, value in public_names()
        if not is_served(name, value)
        and name not in REFUSALS
        and name not in PLAIN
        and not name.startswith(("np.fft.", "np.linalg.eig"))
    ]
    assert sorted(left) == []


def test_no_name_is_twice():
    assert set(REFUSALS) & set(PLAIN) == set()
    assert set(ENTRIES) & set(PLAIN) == set()


X = np.array([1.0, 2.0, 3.0])

#: name -> a call of it with traced values.
CALLS = {
    "np.asmatrix": lambda x: np.asmatrix(x),
    "np.base_repr": lambda x: np.base_repr(x),
    "np.binary_repr": lambda x: np.binary_repr(x),
    "np.bmat": lambda x: np.bmat([x]),
    "np.broadcast": lambda x: np.broadcast(x, x),
    "np.busday_count": lambda x: np.busday_count(x, x),
    "np.busday_offset": lambda x: np.busday_offset(x, x),
    "np.datetime_as_string": lambda x: np.datetime_as_string(x),
    "np.format_float_positional": lambda x: np.format_float_positional(x[0]),
    "np.format_float_scientific": lambda x: np.format_float_scientific(x[0]),
    "np.fromiter": lambda x: np.fromiter(x, float),
    "np.frompyfunc": lambda x: np.frompyfunc(abs, 1, 1)(x),
    "np.is_busday": lambda x: np.is_busday(x),
    "np.isfortran": lambda x: np.isfortran(x),
    "np.kaiser": lambda x: np.kaiser(3, x[0]),
    "np.lib.stride_tricks.as_strided": lambda x: np.lib.stride_tricks.as_strided(x),
    "np.may_share_memory": lambda x: np.may_share_memory(x, x),
    "np.ndenumerate": lambda x: np.ndenumerate(x),
    "np.nested_iters": lambda x: np.nested_iters(x, [[0]]),
    "np.nditer": lambda x: np.nditer(x),
    "np.packbits": lambda x: np.packbits(x),
    "np.save": lambda x: np.save("file", x),
    "np.savetxt": lambda x: np.savetxt("file", x),
    "np.savez": lambda x: np.savez("file", x),
    "np.savez_compressed": lambda x: np.savez_compressed("file", x),
    "np.shares_memory": lambda x: np.shares_memory(x, x),
    "np.unpackbits": lambda x: np.unpackbits(x),
    "np.vectorize": lambda x: np.vectorize(abs)(x),
    "np.polynomial": lambda x: np.polynomial.Polynomial(x)(x),
    "np.testing": lambda x: np.testing.assert_allclose(x, x),
    "np.ma": lambda x: np.ma.masked_less(x, 0),
    "np.random": lambda x: np.random.default_rng(0).normal(x),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_a_refusal_says_what_to_write(name):
    with pytest.raises(TracejitError) as caught:
        record(CALLS[name], X)
    assert str(caught.value).endswith(f". {REFUSALS[name]}.")
