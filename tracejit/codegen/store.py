"""Kernels on disk: one file each, named by the structural key.

A file is a line that names the format, a checksum, and the rest: a line of JSON (the
library symbols to register before loading) and an object file.  Whatever is torn,
stale or foreign is a miss; files appear whole, by renaming; and a folder that cannot
be written is fine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

__all__ = ["read", "write"]

_MAGIC = b"tracejit kernel 1\n"
_DIGEST = hashlib.sha256().digest_size


def read(folder: Path, key: str) -> tuple[list[str], bytes] | None:
    """Symbols and object code, or None."""
    try:
        data = (folder / f"{key}.kernel").read_bytes()
    except OSError:
        return None
    head = len(_MAGIC)
    content = data[head + _DIGEST :]
    checksum = hashlib.sha256(content).digest()
    if data[:head] != _MAGIC or data[head : head + _DIGEST] != checksum:
        return None
    line, _, code = content.partition(b"\n")
    about = json.loads(line)
    return (about["symbols"], code) if about["key"] == key else None


def write(folder: Path, key: str, symbols: list[str], code: bytes) -> bool:
    """Store a kernel; False if that was not possible."""
    content = json.dumps({"key": key, "symbols": symbols}).encode() + b"\n" + code
    data = _MAGIC + hashlib.sha256(content).digest() + content
    name = ""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".new-", dir=folder)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, folder / f"{key}.kernel")
    except OSError:
        if name:
            with contextlib.suppress(OSError):
                os.unlink(name)
        return False
    return True
