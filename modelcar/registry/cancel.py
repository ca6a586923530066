"""Giving up several transfers at once, promptly: Ctrl-C, or the first failure among layers that move in parallel."""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

__all__ = ["CancelScope", "Cancelled", "current_scope", "detached", "run_parallel"]

_local = threading.local()


class Cancelled(Exception):
    """Raised in a worker thread whose work nobody wants any more. Never leaves `run_parallel`."""


class CancelScope:
    """What a group of worker threads shares. Cancelling it also wakes those that wait for the network."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()  # each has `scope` and `sock`

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        if self._event.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Sleep, unless cancelled meanwhile."""
        self._event.wait(seconds)
        self.check()

    def adopt(self, connection: Any) -> None:
        """`connection` works for this scope until another one adopts it from the pool."""
        with self._lock:
            connection.scope = self
            self._connections.add(connection)
        self.check()

    def cancel(self) -> None:
        self._event.set()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            sock = connection.sock
            if connection.scope is self and sock is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)  # an SSLSocket's own would forget its TLS state

    def run(self, job: Callable[[], object]) -> None:
        """Run `job` in this thread as a part of the scope."""
        _local.scope = self
        try:
            self.check()
            job()
        finally:
            _local.scope = None


def current_scope() -> CancelScope | None:
    """The scope that this thread works for; `None` where nothing is shared, as in a program's main thread."""
    scope: CancelScope | None = getattr(_local, "scope", None)
    return scope


def run_parallel(jobs: Sequence[Callable[[], object]], workers: int) -> None:
    """Run all `jobs`, at most `workers` at once, starting them in order.

    The first failure, or Ctrl-C in the calling thread, cancels the others; it is raised once they have ended.
    """
    scope = CancelScope()
    with ThreadPoolExecutor(max(1, min(workers, len(jobs))), thread_name_prefix="modelcar-registry") as pool:
        futures = [pool.submit(scope.run, job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            scope.cancel()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextlib.contextmanager
def detached() -> Iterator[None]:
    """Let this thread clean up after its scope was cancelled."""
    scope = current_scope()
    _local.scope = None
    try:
        yield
    finally:
        _local.scope = scope
