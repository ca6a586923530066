"""Counts what a Python program hashes: put this folder on PYTHONPATH and name a file in BENCH_HASHED.

Every constructor of `hashlib` is wrapped; at the end the sum of all bytes that were hashed is written to the file.
Slower than the real thing, so never part of a timed run.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import threading
from pathlib import Path
from typing import Any

_NAMES = ("sha256", "sha512", "sha384", "sha224", "sha1", "md5", "blake2b", "blake2s")
_lock = threading.Lock()
_total = 0


def _count(data: Any) -> None:
    global _total  # noqa: PLW0603  # counted over the whole process
    with _lock:
        _total += memoryview(data).nbytes


class _Counting:
    def __init__(self, real: Any) -> None:
        self._real = real

    def update(self, data: Any) -> None:
        _count(data)
        self._real.update(data)

    def copy(self) -> _Counting:
        return _Counting(self._real.copy())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _wrap(constructor: Any) -> Any:
    def counting(*args: Any, **kwargs: Any) -> _Counting:
        if args and not isinstance(args[-1], str):
            _count(args[-1])
        return _Counting(constructor(*args, **kwargs))

    return counting


def _write() -> None:
    Path(os.environ["BENCH_HASHED"]).write_text(str(_total))


if "BENCH_HASHED" in os.environ:
    for _name in (*_NAMES, "new"):
        setattr(hashlib, _name, _wrap(getattr(hashlib, _name)))
    atexit.register(_write)
