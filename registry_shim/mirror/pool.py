"""Threads that ask upstreams. What they wait for ends when the mirror does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from modelcar.registry.cancel import CancelScope

__all__ = ["Pool", "Pools"]

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


class Pools:
    """A pool for each upstream, so that one that hangs does not hold up the others. Close it."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads, self._name = threads, name
        self._pools: dict[str, Pool] = {}
        self._closed = False

    def of(self, registry: str) -> Pool:
        """The pool of a configured upstream; from the event loop alone. Raises `RuntimeError` once it is closed."""
        if self._closed:
            raise RuntimeError("the mirror is closed")
        if registry not in self._pools:
            self._pools[registry] = Pool(self._threads, self._name)
        return self._pools[registry]

    def close(self) -> None:
        self._closed = True
        for pool in self._pools.values():
            pool.close()
