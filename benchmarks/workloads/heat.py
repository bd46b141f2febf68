"""The heat equation on a square, explicit steps with slices: which heat at the start?

Each step makes the new field from slices of the old one; the border keeps its values.
The gradient to the initial field is the same stencil, backward.
"""

import numpy as np
from numba import njit

from benchmarks.workload import HAND, Workload
from tracejit import value_and_grad

SIZE, STEPS, RATE = 256, 20, 0.2


def function(field, target):
    for _ in range(STEPS):
        inner = field[1:-1, 1:-1]
        change = (
            field[:-2, 1:-1]
            + field[2:, 1:-1]
            + field[1:-1, :-2]
            + field[1:-1, 2:]
            - 4 * inner
        )
        field = field + RATE * np.pad(change, ((1, 1), (1, 1)), "constant")
    return np.sum((field - target) ** 2)


def in_place(field, target):
    """The same with writes into slices."""
    field = field.copy()
    for _ in range(STEPS):
        change = (
            field[:-2, 1:-1]
            + field[2:, 1:-1]
            + field[1:-1, :-2]
            + field[1:-1, 2:]
            - 4 * field[1:-1, 1:-1]
        )
        field[1:-1, 1:-1] += RATE * change
    return np.sum((field - target) ** 2)


def functional(field, target):
    """The contestant of `in_place`: tracejit on the form without writes."""
    return value_and_grad(function)


def function_scan(jax, field, target):
    def one(field, _):
        change = (
            field[:-2, 1:-1]
            + field[2:, 1:-1]
            + field[1:-1, :-2]
            + field[1:-1, 2:]
            - 4 * field[1:-1, 1:-1]
        )
        return field + RATE * jax.numpy.pad(change, 1), None

    field, _ = jax.lax.scan(one, field, None, length=STEPS)
    return jax.numpy.sum((field - target) ** 2)


def function_torch(torch, field, target):
    for _ in range(STEPS):
        inner = field[1:-1, 1:-1]
        change = (
            field[:-2, 1:-1]
            + field[2:, 1:-1]
            + field[1:-1, :-2]
            + field[1:-1, 2:]
            - 4 * inner
        )
        field = field + RATE * torch.nn.functional.pad(change, (1, 1, 1, 1))
    return torch.sum((field - target) ** 2)


@njit(fastmath={"reassoc", "contract"})
def _step(old, new):
    """One step forward: slices, so that no index can be negative."""
    n = len(old)
    new[0, :] = old[0, :]
    new[n - 1, :] = old[n - 1, :]
    for i in range(1, n - 1):
        here, up, down, out = old[i], old[i - 1, 1:], old[i + 1, 1:], new[i, 1:]
        left, middle, right = here, here[1:], here[2:]
        new[i, 0] = here[0]
        for j in range(n - 2):
            out[j] = middle[j] + RATE * (
                up[j] + down[j] + left[j] + right[j] - 4 * middle[j]
            )
        new[i, n - 1] = here[n - 1]


@njit(fastmath={"reassoc", "contract"})
def _step_back(old, new):
    """The transpose: `old` has a frame of zeros, which the border never feeds.

    Inside, the stencil is symmetric; only a neighbour on the border gives nothing,
    and a border cell takes from its neighbour inside.
    """
    n = len(old) - 2
    for i in range(n):
        # Row i of the field is row i + 1 of the framed one.
        inside_up = 1.0 if i - 1 >= 1 else 0.0
        inside_down = 1.0 if i + 1 <= n - 2 else 0.0
        inside = 1.0 if 1 <= i <= n - 2 else 0.0
        up, here, down = old[i, 1:], old[i + 1, 1:], old[i + 2, 1:]
        left, right, out = old[i + 1], old[i + 1, 2:], new[i + 1, 1:]
        sides = RATE * inside
        for j in range(2, n - 2):
            out[j] = (
                here[j] * (1 - 4 * sides)
                + RATE * (inside_up * up[j] + inside_down * down[j])
                + sides * (left[j] + right[j])
            )
        for j in (0, 1, n - 2, n - 1):
            total = here[j]
            if 1 <= j <= n - 2:
                total += RATE * (inside_up * up[j] + inside_down * down[j])
                total -= 4 * sides * here[j]
            if j - 1 >= 1:
                total += sides * left[j]
            if j + 1 <= n - 2:
                total += sides * right[j]
            out[j] = total


@njit(fastmath={"reassoc", "contract"})
def kernel(field, target, room, framed, gradient):
    """Nothing is kept: the equation is linear, and two fields take turns."""
    _step(field, room[0])
    for k in range(1, STEPS):
        _step(room[(k - 1) % 2], room[k % 2])
    last = room[(STEPS - 1) % 2]
    n = len(field)
    value = 0.0
    for i in range(n):
        row, wanted, out = last[i], target[i], framed[0, i + 1, 1:]
        for j in range(n):
            miss = row[j] - wanted[j]
            value += miss * miss
            out[j] = 2 * miss
    for k in range(STEPS):
        _step_back(framed[k % 2], framed[(k + 1) % 2])
    gradient[:] = framed[STEPS % 2, 1:-1, 1:-1]
    return value


def hand(field, target):
    room = np.empty((2, SIZE, SIZE))
    framed = np.zeros((2, SIZE + 2, SIZE + 2))
    gradient = np.empty((SIZE, SIZE))

    def call(field, target):
        return kernel(field, target, room, framed, gradient), gradient

    return call


def data():
    random = np.random.default_rng(0)
    return random.normal(size=(SIZE, SIZE)), random.normal(size=(SIZE, SIZE))


WORKLOADS = (
    Workload(
        name=f"heat equation {SIZE}×{SIZE}, {STEPS} steps",
        function=function,
        data=data,
        hand={HAND: hand},
        target=1.5,
        torch=function_torch,
        scan=function_scan,
    ),
    Workload(
        name="the same in place, by tracejit without writes",
        function=in_place,
        data=data,
        hand={HAND: functional},
        target=1.2,
    ),
)
