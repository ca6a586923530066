"""Threads that ask upstreams. What they wait for ends when the mirror does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from modelcar.registry.cancel import CancelScope

__all__ = ["Pool"]

T = TypeVar("T")


class Pool:
    """A bounded number of threads. Close it: connections that they wait for are cut then."""

    def __init__(self, threads: int, name: str) -> None:
        self._scope = CancelScope()
        self._threads = ThreadPoolExecutor(threads, f"registry-shim-{name}")

    def submit(self, job: Callable[..., T], *arguments: object) -> Future[T]:
        """Raises `RuntimeError` once it is closed."""
        return self._threads.submit(self._run, partial(job, *arguments))

    def close(self) -> None:
        self._scope.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, job: Callable[[], T]) -> T:
        with self._scope.active():
            return job()
