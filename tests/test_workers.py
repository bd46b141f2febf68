"""The threads that share a batch: every example once, whoever does it."""

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from tracejit import config, grad, vmap
from tracejit import threads as pool
from tracejit.codegen import workers


def bent(x):
    y = x if x > 0 else -2.0 * x
    while y < 10.0:
        y = 1.25 * y + 0.01
    return y


XS = np.random.default_rng(3).normal(size=2000)
XS[XS == 0] = 1.0


@pytest.fixture
def many(monkeypatch):
    """Small chunks for four threads."""
    monkeypatch.setattr(config, "PARALLEL_WORK", 200)
    monkeypatch.setattr(config, "THREADS", 4)


def expected():
    return np.array([bent(x) for x in XS])


def test_every_example_once(many):
    f = vmap(bent)
    for _ in range(20):
        np.testing.assert_allclose(f(XS), expected(), rtol=1e-14)
    names = [t.name for t in threading.enumerate()]
    assert sum(name.startswith("tracejit-") for name in names) == 3
    assert all(t.daemon for t in threading.enumerate() if t.name.startswith("tracejit"))


def test_what_is_left_over_is_known(many):
    """Examples of a path that no thread knows come back, each one once."""
    f = vmap(grad(lambda x: x * x if x < 2.0 else (x if x < 2.5 else 3.0 * x)))
    f(np.zeros(100))
    slopes = np.where(XS < 2.0, 2 * XS, np.where(XS < 2.5, 1.0, 3.0))
    np.testing.assert_array_equal(f(XS), slopes)
    assert f.stats().traces == 3


def test_callers_at_the_same_time(many):
    """One has the pool, the others work alone; none waits for another's job."""
    f = vmap(bent)
    right = expected()
    f(XS)
    wrong = []

    def call():
        for _ in range(20):
            if not np.allclose(f(XS), right, rtol=1e-14):
                wrong.append(1)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    assert not wrong


def test_an_error_leaves_the_pool_as_it_was(many):
    def solved(a):
        return np.linalg.inv(a)[0, 0] if a[0, 0] > 0 else a[1, 1]

    f = vmap(solved)
    stack = np.random.default_rng(0).normal(size=(300, 2, 2))
    right = [solved(a) for a in stack]
    np.testing.assert_allclose(f(stack), right)
    singular = stack.copy()
    singular[137] = [[1.0, 2.0], [2.0, 4.0]]
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        f(singular)
    np.testing.assert_allclose(f(stack), right)


def test_without_threads_of_the_system(many, monkeypatch):
    """The caller does all work, in code that names no function of the system."""
    monkeypatch.setattr(workers, "functions", lambda: None)
    monkeypatch.setattr(pool, "_code", None)
    monkeypatch.setattr(pool, "_pool", None)
    assert "pthread" not in workers.assembly("name", shared=False)
    np.testing.assert_allclose(vmap(bent)(XS), expected(), rtol=1e-14)
    assert pool._pool is None


def test_the_caller_is_enough(many, monkeypatch):
    """Where no further thread can be had, the work is done all the same."""

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pool, "_pool", None)
    f = vmap(bent)
    f(XS[:2])
    monkeypatch.setattr(threading.Thread, "start", refuse)
    np.testing.assert_allclose(f(XS), expected(), rtol=1e-14)


def in_child(queue):
    queue.put((pool._pool is None, float(vmap(bent)(XS).sum())))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(many):
    total = float(vmap(bent)(XS).sum())
    assert pool._pool is not None
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_child, args=(queue,))
    child.start()
    fresh, found = queue.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0
    assert fresh
    assert found == pytest.approx(total, rel=1e-12)


def test_the_environment_says_how_many():
    """One thread: none is started.  And a process ends while others sleep."""
    code = (
        "import threading, numpy as np\n"
        "from tracejit import config, vmap\n"
        "config.PARALLEL_WORK = 10\n"
        "vmap(lambda x: x if x > 0 else -x)(np.linspace(-1, 1, 1000))\n"
        "names = [t.name for t in threading.enumerate()]\n"
        "print(sum(n.startswith('tracejit-') for n in names))"
    )
    for count in (1, 3):
        environment = {**os.environ, "TRACEJIT_THREADS": str(count)}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.stdout.strip() == str(count - 1), done.stderr
        assert done.returncode == 0
