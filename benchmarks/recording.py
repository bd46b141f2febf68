"""What recording costs: the time of each NumPy call while a function is recorded.

`python -m benchmarks.recording` prints the dearest; `--all` prints every call. The
calls are those of the test suite's sweep, one or more for every name that is served, on
arrays of a few elements, so that NumPy's own work is small. Needs the source tree.

A time is the median over the lines of a program that does the same again and again, so
it is that of a call whose kind was met before; *in full* is that of the second line,
which is recorded in full. Processor time of the thread, so that others who use the
machine matter less.
"""

import argparse
import ast
import contextlib
import gc
import statistics
import zlib
from dataclasses import dataclass
from time import thread_time

import numpy as np

from benchmarks.harness import duration, plain
from tests.numpy_api import sweep
from tests.numpy_api.texts import CONSTANT, SMOOTH
from tracejit import jit
from tracejit.errors import TracejitError
from tracejit.tracer import Recorder, recording

LINES = 24
RECORDINGS = 3
LIMIT = 25e-6

#: What is no expression, or changes its operand: what to do first, and the call.
STATEMENTS = {
    "y[0] = x[0]": "y = f * 1.0",
    "y[1:] = 2.5": "y = v * 1.0",
    "y[1:-1] += v[2:]": "y = v * 1.0",
    "y[b] = 0.0": "y = x * 1.0",
    "y[b] = r[0]": "y = x * 1.0",
    "y[[0, 1]] = 1.5": "y = v * 1.0",
    "y[a] = w[a]": "y = v * 1.0; a = np.array([0, 2])",
    "y[a, a] = 0.0": "y = s * 1.0; a = np.arange(2)",
    "y[a, a]": "y = s * 1.0; a = np.arange(2)",
    "y[y > 0]": "y = v * 1.0",
    "y += x": "y = x * 1.0",
    "np.add(x, f, out=y)": "y = x * 1.0",
    "np.add.at(y, [0, 1, 0], 0.5)": "y = v * 1.0",
    "np.copyto(y, x)": "y = f * 1.0",
    "np.copyto(y, x, where=b)": "y = f * 1.0",
    "np.put(y, [0, 1], [1.5, q])": "y = v * 1.0",
    "np.place(y, b, [1.5])": "y = x * 1.0",
    "np.putmask(y, b, 1.5)": "y = x * 1.0",
    "np.fill_diagonal(y, q)": "y = s * 1.0",
    "np.put_along_axis(y, np.array([[0]]), q, 0)": "y = m * 1.0",
    "y.fill(q)": "y = v * 1.0",
    "y.put([0, 1], [1.5, q])": "y = v * 1.0",
    "y.sort()": "y = v * 1.0",
    "y = np.zeros(3)": "",
    "y = np.ones((2, 2))": "",
    "y = np.empty(3)": "",
    "y = np.zeros(3); y[0] = q": "",
}

#: Calls that the sweep of real functions leaves out.
FURTHER = """
np.fft.fft(v)
np.fft.ifft(v)
np.fft.rfft(v)
np.fft.irfft(v, 6)
np.fft.fft2(m)
np.fft.rfft2(m)
np.fft.fftn(m)
np.fft.fftshift(v)
np.fft.ifftshift(v)
np.fft.hfft(v, 6)
np.fft.ihfft(v)
np.angle(v)
np.imag(v)
np.linalg.eig(s)
np.linalg.eigvals(s)
""".split("\n")[1:-1]


class Done(Exception):
    """Ends a recording: nothing is compiled."""


@dataclass
class Cost:
    """What one text costs: seconds and instrs, all of its calls together."""

    text: str
    calls: int
    instrs: float
    seconds: float
    full: float
    numpy: float

    @property
    def each(self):
        """Seconds a call."""
        return self.seconds / self.calls


def texts():
    """All texts, each with what is to be done first."""
    found = dict.fromkeys([*SMOOTH, *CONSTANT, *FURTHER], "")
    return list((found | STATEMENTS).items())


def calls_in(text):
    """How many calls and operators of a text have traced values to work on."""
    count = 0
    for part in ast.walk(ast.parse(text)):
        names = {p.id for p in ast.walk(part) if isinstance(p, ast.Name)}
        if not names & TRACED or "shape" in ast.unparse(part):
            continue
        if isinstance(part, ast.Compare):
            count += len(part.ops)
        else:
            count += isinstance(part, CALLS)
    return max(count, 1)


TRACED = {*sweep.LETTERS, "a"}
CALLS = (ast.Call, ast.BinOp, ast.UnaryOp, ast.AugAssign, ast.Subscript)


def program(text, before, seed):
    """A function that does a text `LINES` times, taking the time, and its arguments.

    It ends by raising `Done`, with the seconds of each line.
    """
    parts = ast.walk(ast.parse(f"{before}\n{text}"))
    used = {part.id for part in parts if isinstance(part, ast.Name)}
    letters = sorted(used & set(sweep.LETTERS) - ({"y"} if before else set()))
    stand_in = f"({', '.join(letters)}, 0)" if text in STATEMENTS else text
    case = sweep.draw(
        stand_in, np.random.default_rng([zlib.crc32(text.encode()), seed])
    )
    lines = [f"def program({', '.join(case.names)}):", "    times = []"]
    for _ in range(LINES):
        lines += [f"    {before}"] if before else []
        lines += [
            "    start = clock()",
            f"    {text}",
            "    times.append(clock() - start)",
        ]
    lines.append("    raise Done(times)")
    names = {**case.function.__globals__, "clock": thread_time, "Done": Done}
    exec(compile("\n".join(lines), f"<{text}>", "exec"), names)
    return names["program"], case.arrays


def laps_of(function, arrays):
    """The seconds of the lines of a program."""
    try:
        function(*arrays)
    except Done as done:
        return done.args[0]
    raise AssertionError("a program ends by raising")


def seconds_of(function, arrays):
    """The median over the lines of a program."""
    return statistics.median(laps_of(function, arrays))


def cost(text, before):
    """The `Cost` of one text: of the quickest of several recordings."""
    for seed in range(8):  # some options are refused
        function, arrays = program(text, before, seed)
        try:
            full = laps_of(jit(function), arrays)[1]
        except TracejitError:
            continue
        break
    own = min(seconds_of(function, [a.copy() for a in arrays]) for _ in range(2))
    taken = min(seconds_of(jit(function), arrays) for _ in range(RECORDINGS))
    instrs = instrs_of(function, arrays)
    return Cost(text, calls_in(text), instrs, taken, full, own)


def instrs_of(function, arrays):
    """Instrs that one line leaves on the tape, besides what came before it."""
    rec = Recorder()
    tracers = [rec.input_tracer(a) for a in arrays]
    with recording(rec), contextlib.suppress(Done):
        function(*tracers)
    return len(rec.instrs) / LINES


def measure(only=""):
    """The costs of all texts, the dearest call first."""
    found = []
    gc.collect()
    with np.errstate(all="ignore"):
        for text, before in texts():
            if only in text:
                found.append(cost(text, before))
    return sorted(found, key=lambda c: -c.each)


def calibration():
    """Seconds of `np.sin` of three numbers: what this machine is worth just now."""
    x = np.ones(3)
    laps = []
    for _ in range(50):
        start = thread_time()
        for _ in range(100):
            np.sin(x)
        laps.append((thread_time() - start) / 100)
    return min(laps)


def rows(costs):
    """The table as lists of texts, titles first."""
    titles = ["calls", "instrs", "NumPy", "in full", "again", "each", "an instr"]
    table = [["call", *titles]]
    for c in costs:
        numbers = [str(c.calls), f"{c.instrs:.3g}"]
        times = (c.numpy, c.full, c.seconds, c.each, c.seconds / max(c.instrs, 1))
        table.append([c.text, *numbers, *[duration(t) for t in times]])
    return table


def summary(costs):
    """The table of all calls: how many are how dear."""
    each = sorted(c.each for c in costs)
    few = [c.each for c in costs if c.instrs <= 4 * c.calls]
    table = [["recording", "texts", "median", "90 of 100", "above 25 µs"]]
    for what, times in (("all calls", each), ("calls of up to 4 instrs", sorted(few))):
        if not times:
            continue
        high = times[int(0.9 * (len(times) - 1))]
        above = str(sum(t > LIMIT for t in times))
        median = duration(statistics.median(times))
        table.append([what, str(len(times)), median, duration(high), above])
    table.append(["np.sin of three numbers, by NumPy", "", duration(calibration())])
    table[-1] += ["", ""]
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true", help="print every call")
    parser.add_argument("--only", default="", metavar="TEXT")
    options = parser.parse_args()
    costs = measure(options.only)
    print(plain(rows(costs if options.all or options.only else costs[:20])))
    print("\n" + plain(summary(costs)))
