"""Kernels on disk: cold, warm, torn, foreign, read-only, two processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracejit.codegen import store

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = """
import sys
import numpy as np
from tests.codegen.programs import Make
from tracejit import kernel

m = Make()
x, g = m.arg((50,)), m.out((50,))
a, y = m.arg((3, 3)), m.out((3, 3))
with m.loop(50) as i:
    m.store(g, i, value=m.let("digamma", m.let("exp", m.load(x, i))))
m.call("gemm", [a, a], [y], ta=False, tb=False)
executable = kernel.compile_program(m.returns(), [])
matrix = np.arange(9.0).reshape(3, 3)
status, _, (g, y) = executable.run(np.zeros(50), matrix)
assert status == 0 and np.allclose(g, -0.5772156649015329)
assert np.allclose(y, matrix @ matrix)
print(executable.compiled, executable.kernel.stats["from_disk"], "numba" in sys.modules)
"""


def run(folder: Path | str, **more: str) -> list[str]:
    """Run `PROGRAM` in a new process: compiled, from disk, Numba imported."""
    process = start(folder, **more)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.split()


def start(folder: Path | str, **more: str) -> subprocess.Popen:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TRACEJIT_CACHE": "1",
        "TRACEJIT_CACHE_DIR": str(folder),
        **more,
    }
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


COLD, WARM = ["True", "False", "True"], ["False", "True", "False"]


@pytest.mark.processes
@pytest.mark.compiles
def test_the_second_process_compiles_nothing(tmp_path):
    folder = tmp_path / "new" / "folder"
    assert run(folder) == COLD
    assert run(folder) == WARM
    assert len(list(folder.iterdir())) == 1


@pytest.mark.processes
@pytest.mark.compiles
def test_torn_files_are_a_miss_and_are_replaced(tmp_path):
    assert run(tmp_path) == COLD
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert run(tmp_path) == COLD
    assert file.read_bytes() == whole
    assert run(tmp_path) == WARM


@pytest.mark.processes
@pytest.mark.compiles
def test_the_cache_can_be_off(tmp_path):
    assert run(tmp_path, TRACEJIT_CACHE="0") == COLD
    assert not list(tmp_path.iterdir())


@pytest.mark.processes
@pytest.mark.compiles
def test_two_processes_at_once(tmp_path):
    processes = [start(tmp_path) for _ in range(2)]
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert len(list(tmp_path.iterdir())) == 1
    assert run(tmp_path) == WARM


@pytest.mark.processes
@pytest.mark.compiles
def test_a_folder_that_cannot_be_made_is_fine(tmp_path):
    file = tmp_path / "file"
    file.write_text("no folder")
    assert run(file) == COLD
    assert run(file / "below") == COLD


# --- the files themselves


def test_what_was_written_is_read(tmp_path):
    assert store.write(tmp_path, "key", ["symbol"], b"code\nand more\n")
    assert store.read(tmp_path, "key") == (["symbol"], b"code\nand more\n")
    assert store.read(tmp_path, "other") is None
    assert store.read(tmp_path / "nowhere", "key") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: b"",
        lambda data: data[:10],
        lambda data: b"x" + data[1:],
        lambda data: data[:-3] + b"y" + data[-2:],
        lambda data: bytes(len(data)),
    ],
)
def test_damaged_files_are_a_miss(tmp_path, damage):
    store.write(tmp_path, "key", [], b"code")
    file = tmp_path / "key.kernel"
    file.write_bytes(damage(file.read_bytes()))
    assert store.read(tmp_path, "key") is None


def test_a_file_under_another_kernels_name_is_a_miss(tmp_path):
    store.write(tmp_path, "key", [], b"code")
    (tmp_path / "key.kernel").rename(tmp_path / "other.kernel")
    assert store.read(tmp_path, "other") is None


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("full")

    monkeypatch.setattr(os, "replace", refuse)
    assert not store.write(tmp_path, "key", [], b"code")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write")
def test_a_read_only_folder_is_fine(tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert not store.write(tmp_path, "key", [], b"code")
    finally:
        tmp_path.chmod(0o700)
