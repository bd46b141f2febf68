"""Every test starts without kernels, and the suite has a kernel cache of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tracejit import kernel


@pytest.fixture(autouse=True)
def fresh_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Exact counts of compiled kernels do not depend on the tests run before."""
    monkeypatch.setenv("TRACEJIT_CACHE", "0")
    known = dict(kernel._KERNELS)
    kernel._KERNELS.clear()
    yield
    kernel._KERNELS.update(known)
