"""Loops that end, or branch, on traced values: many inputs, how many recordings?

Every input has another number of iterations or another sequence of branches. What is
measured is the mean time of a call once all inputs have been seen, and how often the
function was recorded and compiled until then.

Peers run a few of the inputs, those that can: JAX compiles no loop that ends on a value
and has a derivative, but it has `scan` for the loop of fixed length.
"""

import gc
import math
import statistics
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numba import njit

from benchmarks import contestants
from benchmarks.harness import check, duration
from tracejit import value_and_grad


def doubling(b):
    while np.sqrt(np.sum(b * b)) < 1000.0:
        b = b * 2.0
    return np.sum(b)


def doubling_torch(torch, b):
    while torch.sqrt(torch.sum(b * b)) < 1000.0:
        b = b * 2.0
    return torch.sum(b)


@njit(fastmath={"reassoc", "contract"})
def doubling_kernel(b, room, gradient):
    factor = 1.0
    for i in range(len(b)):
        room[i] = b[i]
    while True:
        square = 0.0
        for i in range(len(room)):
            square += room[i] * room[i]
        if math.sqrt(square) >= 1000.0:
            break
        for i in range(len(room)):
            room[i] *= 2.0
        factor *= 2.0
    value = 0.0
    for i in range(len(room)):
        value += room[i]
        gradient[i] = factor
    return value


def doubling_hand(b):
    room, gradient = np.empty_like(b), np.empty_like(b)
    return lambda b: (doubling_kernel(b, room, gradient), gradient)


def newton(a):
    """The x with x * exp(x) = a, by Newton's iteration, to a tolerance."""
    x = 20.0
    step = 1.0
    while np.abs(step) > 1e-10:
        power = np.exp(x)
        step = (x * power - a) / (power * (x + 1.0))
        x = x - step
    return x


def newton_torch(torch, a):
    x = torch.tensor(20.0, dtype=torch.float64)
    step = torch.tensor(1.0)
    while torch.abs(step) > 1e-10:
        power = torch.exp(x)
        step = (x * power - a) / (power * (x + 1.0))
        x = x - step
    return x


@njit(fastmath={"reassoc", "contract"}, error_model="numpy")
def newton_kernel(a, points):
    """Forward keeps the points; backward goes through every step, as recorded."""
    x, step, n = 20.0, 1.0, 0
    while abs(step) > 1e-10:
        power = math.exp(x)
        points[n, 0], points[n, 1] = x, power
        step = (x * power - a) / (power * (x + 1.0))
        points[n, 2] = step
        x -= step
        n += 1
    ct, by_a = 1.0, 0.0
    for m in range(n):
        before, power = points[n - 1 - m, 0], points[n - 1 - m, 1]
        by_a += ct / (power * (before + 1.0))
        ct *= points[n - 1 - m, 2] * (before + 2.0) / (before + 1.0)
    return x, by_a


def newton_hand(a):
    points = np.empty((200, 3))
    return lambda a: newton_kernel(a, points)


STEPS = 200


def walk(x, noise):
    for i in range(STEPS):
        x = 0.9 * x + noise[i] if x > 0.0 else x * x * 0.1 + noise[i]
    return x


def walk_torch(torch, x, noise):
    for n in noise:
        x = 0.9 * x + n if x > 0.0 else x * x * 0.1 + n
    return x


def walk_scan(jax, x, noise):
    def one(x, n):
        return jax.numpy.where(x > 0.0, 0.9 * x + n, x * x * 0.1 + n), None

    return jax.lax.scan(one, x, noise)[0]


@njit(fastmath={"reassoc", "contract"})
def walk_kernel(x, noise, kept):
    for n in range(len(noise)):
        kept[n] = x
        x = 0.9 * x + noise[n] if x > 0.0 else x * x * 0.1 + noise[n]
    ct = 1.0
    for m in range(len(noise)):
        before = kept[len(noise) - 1 - m]
        ct *= 0.9 if before > 0.0 else 0.2 * before
    return x, ct


def walk_hand(x, noise):
    kept = np.empty(STEPS)
    return lambda x, noise: walk_kernel(x, noise, kept)


@dataclass(frozen=True)
class Crowd:
    """A function, its inputs, and what is to be reached.

    Attributes:
        recordings, kernels: at most this many, over all inputs.
        target: tracejit's time is to be at most this multiple of the hand-written.
        tried: tracejit gets this many of the inputs at most: every recording of a
            path costs up to 0.1 s.
        torch, scan: as those of a `Workload`.
    """

    name: str
    function: object
    hand: object
    inputs: object
    recordings: int
    kernels: int
    target: float
    number: int = 1_000
    tried: int = 1_000
    torch: object = None
    scan: object = None
    argnums: int = 0
    static: tuple = ()


def _vectors(n):
    def inputs(count):
        random = np.random.default_rng(0)
        sizes = 10.0 ** random.uniform(-6, 2, count) / math.sqrt(n)
        return [(size * random.uniform(0.5, 1.0, n),) for size in sizes]

    return inputs


def _scalars(count):
    random = np.random.default_rng(0)
    return [(a,) for a in (10.0 ** random.uniform(-1, 4, count)).tolist()]


def _walks(count):
    random = np.random.default_rng(0)
    return [(0.1, random.normal(size=STEPS)) for _ in range(count)]


CROWDS = (
    Crowd(
        "while norm(b) < 1000, n=1",
        doubling,
        doubling_hand,
        _vectors(1),
        3,
        2,
        2,
        torch=doubling_torch,
    ),
    Crowd(
        "while norm(b) < 1000, n=1,000",
        doubling,
        doubling_hand,
        _vectors(1_000),
        3,
        2,
        2,
        torch=doubling_torch,
    ),
    Crowd(
        "Newton to a tolerance",
        newton,
        newton_hand,
        _scalars,
        3,
        2,
        2,
        torch=newton_torch,
    ),
    Crowd(
        f"random walk with an if, T={STEPS}",
        walk,
        walk_hand,
        _walks,
        5,
        3,
        3,
        torch=walk_torch,
        scan=walk_scan,
    ),
)


@dataclass
class Outcome:
    """What one crowd cost: mean seconds a call, recordings and compiled kernels.

    `peers` has the seconds of those that can: name -> mean seconds a call.
    """

    crowd: Crowd
    tried: int
    hand: float
    ours: float
    first: float
    recordings: int
    kernels: int
    peers: dict

    def met(self):
        crowd = self.crowd
        return (
            self.tried == crowd.number
            and self.recordings <= crowd.recordings
            and self.kernels <= crowd.kernels
            and self.ours <= crowd.target * self.hand
        )


#: A peer gets so many inputs, and this many seconds for all of them.
PEER_INPUTS, PEER_SECONDS = 20, 20.0


def measure(rounds=5, peers=()):
    """Run every crowd.

    Args:
        peers: of `contestants.PEERS`.
    """
    return [_measure(crowd, rounds, peers) for crowd in CROWDS]


def _peer(name, crowd, hand, inputs):
    """Mean seconds a call of a peer, compiling left out; None if it cannot."""
    if name == "jax" or not contestants.takes_part(name, crowd):
        return None
    call = contestants.make_peer(name, crowd)
    start = perf_counter()
    times = []
    for arguments in inputs:
        check(call(*arguments), hand(*arguments), 1e-6)
        times.append(_time(call, [arguments]))
        if perf_counter() - start > PEER_SECONDS:
            break
    return statistics.fmean(times)


def _measure(crowd, rounds, peers):
    inputs = crowd.inputs(crowd.number)
    tried = inputs[: crowd.tried]
    hand = crowd.hand(*inputs[0])
    ours = value_and_grad(crowd.function)
    before = ours.stats()  # two crowds may share a function
    start = perf_counter()
    for arguments in tried:
        check(ours(*arguments), hand(*arguments), 1e-6)
    first = perf_counter() - start
    stats = ours.stats()
    hands, times = [], []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            hands.append(_time(hand, tried))
            times.append(_time(ours, tried))
    finally:
        if collecting:
            gc.enable()
    return Outcome(
        crowd,
        len(tried),
        statistics.median(hands),
        statistics.median(times),
        first,
        stats.traces - before.traces,
        stats.kernels_compiled - before.kernels_compiled,
        {name: _peer(name, crowd, hand, inputs[:PEER_INPUTS]) for name in peers},
    )


def _time(call, inputs):
    start = perf_counter()
    for arguments in inputs:
        call(*arguments)
    return (perf_counter() - start) / len(inputs)


def rows(outcomes):
    """The table as lists of texts, titles first."""
    table = [
        [
            "loop",
            "inputs",
            "hand-written",
            "tracejit",
            "ratio",
            "recordings",
            "kernels",
            "all first calls",
            "target",
            "",
        ]
    ]
    peers = [
        name
        for name in contestants.PEERS
        if any(outcome.peers.get(name) for outcome in outcomes)
    ]
    table[0][4:4] = [contestants.TITLES[name] for name in peers]
    for outcome in outcomes:
        crowd = outcome.crowd
        table.append(
            [
                crowd.name,
                f"{outcome.tried:,}",
                duration(outcome.hand),
                duration(outcome.ours),
                *(
                    duration(outcome.peers[name]) if outcome.peers.get(name) else "-"
                    for name in peers
                ),
                f"{outcome.ours / outcome.hand:.1f}",
                str(outcome.recordings),
                str(outcome.kernels),
                duration(outcome.first),
                f"≤ {crowd.target}, {crowd.recordings} rec., {crowd.kernels} kernels",
                "met" if outcome.met() else "missed",
            ]
        )
    return table
