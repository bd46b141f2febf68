"""200 random small programs, the same statements here and in PyTorch.

A program is a list of steps drawn from a seed; each step applies one of `OPERATIONS` to
values made before.  Some steps detach, retain a gradient, register a hook that replaces
it, or go through a Function.  Then the gradients of all leaves and retained results are
compared, two times, so that accumulation takes part.
"""

import numpy as np
import pytest

from tracejit import autograd

torch = pytest.importorskip("torch")

LEAVES = 3
STEPS = 9
N = 3


class Double(autograd.Function):
    """2x + y, with the right gradient."""

    @staticmethod
    def forward(ctx, x, y):
        return 2 * x + y

    @staticmethod
    def backward(ctx, g):
        return g * 2, g


class TorchDouble(torch.autograd.Function):
    """The same in PyTorch."""

    @staticmethod
    def forward(ctx, x, y):
        return 2 * x + y

    @staticmethod
    def backward(ctx, g):
        return g * 2, g


class Ours:
    """The operations' names here."""

    exp, tanh, sin, where = np.exp, np.tanh, np.sin, np.where
    maximum, sqrt, log = np.maximum, np.sqrt, np.log
    double = Double.apply
    no_grad = autograd.no_grad

    @staticmethod
    def stack_sum(a, b):
        return np.stack([a, b]).sum(axis=0)

    @staticmethod
    def reshape_turn(a):
        return np.swapaxes(a.reshape((N, N)), 0, 1).reshape((N * N,))

    @staticmethod
    def matrix(a, b):
        return (a.reshape((N, N)) @ b.reshape((N, N))).reshape((N * N,))

    @staticmethod
    def mean(a):
        return a.mean(axis=0)

    @staticmethod
    def zeros(n):
        return autograd.array(np.zeros(n))

    @staticmethod
    def leaf(values):
        return autograd.array(values, requires_grad=True)


class Theirs:
    """The operations' names in PyTorch."""

    exp, tanh, sin, where = torch.exp, torch.tanh, torch.sin, torch.where
    maximum, sqrt, log = torch.maximum, torch.sqrt, torch.log
    double = TorchDouble.apply
    no_grad = torch.no_grad

    @staticmethod
    def stack_sum(a, b):
        return torch.stack([a, b]).sum(dim=0)

    @staticmethod
    def reshape_turn(a):
        return a.reshape(N, N).transpose(0, 1).reshape(N * N)

    @staticmethod
    def matrix(a, b):
        return (a.reshape(N, N) @ b.reshape(N, N)).reshape(N * N)

    @staticmethod
    def mean(a):
        return a.mean(dim=0)

    @staticmethod
    def zeros(n):
        return torch.zeros(n, dtype=torch.float64)

    @staticmethod
    def leaf(values):
        return torch.tensor(values, requires_grad=True)


OPERATIONS = {
    "add": lambda m, a, b: a + b,
    "sub": lambda m, a, b: a - 0.5 * b,
    "mul": lambda m, a, b: a * b,
    "div": lambda m, a, b: a / (b * b + 1.5),
    "square": lambda m, a, b: 0.3 * a**2,
    "exp": lambda m, a, b: m.exp(-a * a),
    "tanh": lambda m, a, b: m.tanh(a + b),
    "sin": lambda m, a, b: m.sin(a) - b,
    "where": lambda m, a, b: m.where(a > b, a, 2.0 * b),
    "maximum": lambda m, a, b: m.maximum(a, b),
    "mean": lambda m, a, b: a * m.mean(b),
    "slice": lambda m, a, b: a[0] * b + a[-1],
    "stack": lambda m, a, b: m.stack_sum(a, m.sin(b)),
    "turn": lambda m, a, b: m.reshape_turn(a) + b,
    "matrix": lambda m, a, b: 0.2 * m.matrix(a, b),
    "log": lambda m, a, b: m.log(a * a + 1.0) + m.sqrt(b * b + 0.1),
    "detach": lambda m, a, b: a.detach() * b,
    "unrecorded": lambda m, a, b: unrecorded(m, a) + b,
    "function": lambda m, a, b: m.double(a, b),
    "loop": lambda m, a, b: loop(m, a, b),
    "written": lambda m, a, b: written(a, b),
    "views": lambda m, a, b: views(a, b),
    "buffer": lambda m, a, b: buffer(m, a, b),
}


def written(a, b):
    z = a * 1.0
    z += b
    z[0] = b[1] * 0.5
    z[1:4] *= 2.0
    z.sub_(a)
    return z


def views(a, b):
    z = a + b
    v = z[2:]
    v -= a[2:]
    w = z.reshape(N, N)
    w[0] *= 0.5
    return z + w.reshape(N * N)


def buffer(m, a, b):
    z = m.zeros(N * N)
    z[:3] = a[:3]
    tail = z[3:]
    tail += b[3:] * a[3:]
    return z


def unrecorded(m, a):
    with m.no_grad():
        return a * 3.0


def loop(m, a, b):
    for k in range(6):
        a = 0.5 * m.sin(a) + (0.1 * k) * b
    return a


def program(seed):
    """Steps (operation, operand, operand, extra) of one program."""
    rng = np.random.default_rng(seed)
    names = list(OPERATIONS)
    steps = []
    for k in range(STEPS):
        a, b = rng.integers(0, LEAVES + k, 2)
        extra = rng.choice(["", "", "", "", "hook", "retain"])
        steps.append((names[rng.integers(len(names))], int(a), int(b), str(extra)))
    return steps, [rng.normal(size=N * N) for _ in range(LEAVES)]


def run(m, seed):
    """The gradients of leaves and retained results, and the value."""
    steps, starts = program(seed)
    leaves = [m.leaf(values) for values in starts]
    leaves[0].register_hook(lambda g: 3 * g)
    retained = []
    for _ in range(2):
        values = list(leaves)
        for name, a, b, extra in steps:
            new = OPERATIONS[name](m, values[a], values[b])
            if new.requires_grad and extra == "hook":
                new.register_hook(lambda g: g * 0.5)
            if new.requires_grad and extra == "retain":
                new.retain_grad()
                retained.append(new)
            values.append(new)
        total = (values[-1] * values[-2]).sum()
        if total.requires_grad:
            total.backward()
    grads = [None if x.grad is None else x.grad.numpy() for x in leaves + retained]
    return total.item(), grads


@pytest.mark.parametrize("first", range(0, 200, 10))
def test_random_programs(first, monkeypatch):
    if first:
        # Compiling takes most of the time; ten programs show that it does no harm.
        monkeypatch.setattr("tracejit.autograd.planning.LONGEST", 0)
    for seed in range(first, first + 10):
        value, grads = run(Ours, seed)
        expected, theirs = run(Theirs, seed)
        assert np.isclose(value, expected, rtol=1e-9), seed
        assert len(grads) == len(theirs)
        for mine, other in zip(grads, theirs, strict=True):
            assert (mine is None) == (other is None), seed
            if mine is not None:
                np.testing.assert_allclose(
                    mine, other, rtol=1e-8, atol=1e-10, err_msg=f"seed {seed}"
                )


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: (x**3 * m.exp(x)).sum(),
        lambda m, x: (m.sin(x) * x[0]).sum() ** 2,
        lambda m, x: m.tanh(x * x).mean(),
    ],
)
def test_second_derivatives(function):
    values = np.array([0.3, -0.7, 1.1])
    found = []
    for m, grad in ((Ours, autograd.grad), (Theirs, torch.autograd.grad)):
        x = m.leaf(values)
        (first,) = grad(function(m, x), x, create_graph=True)
        (second,) = grad((first * first).sum(), x)
        found.append((first.detach().numpy(), second.numpy()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-12)
