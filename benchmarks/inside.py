"""Numba functions in kernels, and kernels in functions of Numba and C."""

import ctypes
import math
import statistics
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numba import cfunc, njit
from scipy import LowLevelCallable
from scipy.integrate import quad

from benchmarks.harness import check, duration
from tracejit import grad, jit, primitive, value_and_grad

CALLS = 1_000_000
ROUNDS = 400


@dataclass
class Outcome:
    """Median seconds of one call each, and the median of their ratios."""

    name: str
    hand: float
    ours: float
    ratio: float
    target: float | None

    def met(self):
        return self.target is None or self.ratio <= self.target


# --- a scalar function in a loop of a million rounds


def wave(x):
    return np.sin(x) * np.exp(-x * x)


@njit
def wave_by_hand(x):
    bell = math.exp(-x * x)
    sine = math.sin(x)
    return sine * bell, (math.cos(x) - 2.0 * x * sine) * bell


def bent(x):
    """Two branches, and a loop."""
    y = x if x > 0 else -0.5 * x
    for _ in range(10):
        y = y + 0.1 * np.sin(y)
    return y


@njit
def bent_by_hand(x):
    y, slope = (x, 1.0) if x > 0 else (-0.5 * x, -0.5)
    for _ in range(10):
        slope += 0.1 * math.cos(y) * slope
        y += 0.1 * math.sin(y)
    return y, slope


def summed(pair):
    """A user's loop around a function that returns value and derivative."""

    @njit
    def loop(n):
        value = slope = 0.0
        for i in range(n):
            v, s = pair(-1.0 + 2.0 * i / n)
            value += v
            slope += s
        return value, slope

    return loop


def scalar(name, f, hand, *more):
    inside = value_and_grad(f).njit(0.5, more=[(x,) for x in more])
    return _compare(name, summed(hand), summed(inside), (CALLS,), CALLS, 1.5)


# --- a function of Numba's in a kernel


@njit
def damped(x, v):
    return v - 0.01 * (x + 0.1 * v)


def oscillator(step):
    def f(x):
        v = 0.0 * x
        for _ in range(ROUNDS):
            v = step(x, v)
            x = x + 0.01 * v
        return x

    return f


def numba_primitive():
    ours = jit(oscillator(primitive(damped)))
    hand = njit(oscillator(damped))
    return _compare("Numba function in a loop of a kernel", hand, ours, (0.5,), ROUNDS)


# --- a function in Python in a kernel


def table(x):
    return np.searchsorted(GRID, x).astype(np.float64)


GRID = np.linspace(0.0, 1.0, 100)


def python_primitive():
    lookup = primitive(table)
    ours = jit(lambda x: lookup(x) + x)
    x = np.linspace(0.1, 0.9, 10)
    return _compare(
        "Python function in a kernel", lambda x: table(x) + x, ours, (x,), 1
    )


# --- a C callback


def integral():
    @cfunc("double(double)")
    def hand(x):
        bell = math.exp(-x * x)
        return (math.cos(x) - 2.0 * x * math.sin(x)) * bell

    ours = grad(wave).cfunc(0.5)
    calls = [LowLevelCallable(f.ctypes) for f in (hand, ours)]
    assert isinstance(ours.ctypes(0.5), float)
    assert ctypes.sizeof(ours.ctypes) == 8

    def integrate(call):
        return lambda: quad(call, -3.0, 2.0)[0]

    return _compare("quad of a C function", *map(integrate, calls), (), 1)


def _compare(name, hand, ours, args, count, target=None, rounds=11):
    check(ours(*args), hand(*args), 1e-9)
    number = 1
    while _time(ours, args, number) < 0.005:
        number *= 2
    times = [
        (_time(hand, args, number), _time(ours, args, number)) for _ in range(rounds)
    ]
    by_hand, by_us = zip(*times, strict=True)
    each = 1.0 / number / count
    ratio = statistics.median(b / a for a, b in times)
    return Outcome(
        name,
        statistics.median(by_hand) * each,
        statistics.median(by_us) * each,
        ratio,
        target,
    )


def _time(call, args, number):
    start = perf_counter()
    for _ in range(number):
        call(*args)
    return perf_counter() - start


def measure():
    """All rows, hand-written and tracejit in turns."""
    return [
        scalar("sin(x) exp(-x²) in @njit, 10⁶ calls", wave, wave_by_hand),
        scalar("branch and loop in @njit, 10⁶ calls", bent, bent_by_hand, -0.5),
        numba_primitive(),
        python_primitive(),
        integral(),
    ]


def rows(outcomes):
    """The table as lists of texts, titles first."""
    titles = ["value and derivative", "by hand", "tracejit", "ratio", "target", ""]
    return [titles] + [
        [
            o.name,
            duration(o.hand),
            duration(o.ours),
            f"{o.ratio:.2f}",
            f"{o.target}" if o.target else "",
            ("met" if o.met() else "missed") if o.target else "",
        ]
        for o in outcomes
    ]
