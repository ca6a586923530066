"""Giving up several transfers at once, promptly: Ctrl-C, or the first failure among layers that move in parallel."""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Final, Self

__all__ = ["CancelScope", "Cancelled", "JobGroup", "current_scope", "detached", "run_parallel"]

_LOOK: Final = 0.1  # seconds between two looks at whether somebody still wants it
_local = threading.local()


class Cancelled(Exception):
    """Raised in a worker thread whose work nobody wants any more. Never leaves a `JobGroup`."""


class CancelScope:
    """What a group of worker threads shares. Cancelling it also wakes those that wait for the network."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._cause: BaseException | None = None
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()  # each has `scope` and `sock`
        self._inner: weakref.WeakSet[CancelScope] = weakref.WeakSet()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    @property
    def cause(self) -> BaseException | None:
        """What it was cancelled for, where somebody said so."""
        return self._cause

    def check(self) -> None:
        if self._event.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Sleep, unless cancelled meanwhile."""
        self._event.wait(seconds)
        self.check()

    def contain(self, inner: CancelScope) -> None:
        """Whatever cancels this scope cancels `inner`, too."""
        with self._lock:
            self._inner.add(inner)
        self.check()

    def adopt(self, connection: Any) -> None:
        """`connection` works for this scope until another one adopts it from the pool."""
        with self._lock:
            connection.scope = self
            self._connections.add(connection)
        self.check()

    def cancel(self, cause: BaseException | None = None) -> None:
        """End it, for `cause`; the first one stays."""
        if not self.cancelled:
            self._cause = cause
        self._event.set()
        with self._lock:
            connections, scopes = list(self._connections), list(self._inner)
        for inner in scopes:
            inner.cancel(cause)
        for connection in connections:
            sock = connection.sock
            if connection.scope is self and sock is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)  # an SSLSocket's own would forget its TLS state

    def meanwhile(self, work: Callable[[], None], undo: Callable[[], None]) -> None:
        """Do what nothing can wake (a name is looked up, a handshake waited for) in a thread that is left behind when
        the scope is cancelled; then `undo` follows it."""
        ended, failures = threading.Event(), list[BaseException]()

        def run() -> None:
            try:
                work()
            except BaseException as e:
                failures.append(e)
            ended.set()
            if self.cancelled:
                with contextlib.suppress(Exception):
                    undo()

        threading.Thread(target=run, name="modelcar-connecting", daemon=True).start()
        while not ended.wait(_LOOK):
            self.check()
        if failures:
            raise failures.pop()

    def run(self, job: Callable[[], object]) -> None:
        """Run `job` in this thread as a part of the scope."""
        with self.active():
            job()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """This thread works for the scope within the block."""
        outer = current_scope()
        _local.scope = self
        try:
            self.check()
            yield
        finally:
            _local.scope = outer


def current_scope() -> CancelScope | None:
    """The scope that this thread works for; `None` where nothing is shared, as in a program's main thread."""
    scope: CancelScope | None = getattr(_local, "scope", None)
    return scope


class JobGroup:
    """Jobs in threads, begun in the order in which they come, at most `workers` at once.

    Leaving the `with` block waits for them. The first failure, of a job or of the block, or Ctrl-C cancels the others;
    it is raised once they have ended.
    """

    def __init__(self, workers: int) -> None:
        self._scope = CancelScope()
        if (outer := current_scope()) is not None:
            outer.contain(self._scope)
        self._pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="modelcar-registry")
        # Not `as_completed`: Ctrl-C while it takes the futures' locks would leave them taken, and the threads waiting.
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()
        self._submitted = 0
        self._failure: BaseException | None = None

    def submit(self, job: Callable[[], object]) -> None:
        """Add a job, from any thread. Raises what another one has failed with, so that nobody prepares more in vain."""
        if self._failure is not None:
            raise self._failure
        self._submitted += 1
        self._pool.submit(self._run, job)

    @property
    def failure(self) -> BaseException | None:
        """What a job has failed with, the first one: no other is begun after it."""
        return self._failure

    def _run(self, job: Callable[[], object]) -> None:
        try:
            self._scope.run(job)
        except BaseException as e:
            self._failure = self._failure or e
            self._ended.put(e)  # before the others add that they were cancelled
            self._scope.cancel(e)  # here, so that this thread does not begin the next one
        else:
            self._ended.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                for _ in range(self._submitted):
                    if failure := self._ended.get():
                        raise failure
        except BaseException as e:
            error = e
            raise
        finally:
            if error is not None:
                self._scope.cancel(error)
            self._pool.shutdown(cancel_futures=error is not None)


def run_parallel(jobs: Sequence[Callable[[], object]], workers: int) -> None:
    """Run all `jobs` as a `JobGroup`."""
    with JobGroup(min(workers, len(jobs))) as group:
        for job in jobs:
            group.submit(job)


@contextlib.contextmanager
def detached() -> Iterator[None]:
    """Let this thread clean up after its scope was cancelled."""
    scope = current_scope()
    _local.scope = None
    try:
        yield
    finally:
        _local.scope = scope
