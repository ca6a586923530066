"""Threads that ask registries: a registry that is slow, or dead, makes nobody wait but those who ask for its images."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from modelcar.errors import WorldError
from modelcar.registry.cancel import Cancelled, CancelScope

__all__ = ["Lanes"]

T = TypeVar("T")

_EACH: Final = 8  # threads for one registry
_TOTAL: Final = 64
_MOST_WAITING: Final = 1000


@dataclass(frozen=True, slots=True)
class _Job:
    lane: str
    run: Callable[[], Any]
    future: Future[Any]
    scope: CancelScope = field(default_factory=CancelScope)


class Lanes:
    """Jobs in threads, a lane for each registry. A job that has run for `seconds` is cut off."""

    def __init__(self, *, seconds: float, each: int = _EACH, total: int = _TOTAL, waiting: int = _MOST_WAITING) -> None:
        self._seconds, self._each, self._total, self._most_waiting = seconds, each, total, waiting
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()
        self._waiting: deque[_Job] = deque()
        self._scopes: set[CancelScope] = set()
        self._closed = False

    def submit(self, lane: str, run: Callable[[], T]) -> Future[T]:
        """Begin it as soon as its lane has room.

        Raises:
            WorldError: too much is waiting.
        """
        job = _Job(lane, run, Future())
        with self._lock:
            if self._closed or len(self._waiting) >= self._most_waiting:
                raise WorldError("too many questions to registries are waiting", hint="try again in a minute")
            if self._has_room(lane):
                self._begin(job)
            else:
                self._waiting.append(job)
        return job.future

    def close(self) -> None:
        """Cut off what runs, and drop what waits."""
        with self._lock:
            self._closed = True
            scopes, dropped = list(self._scopes), list(self._waiting)
            self._waiting.clear()
        for job in dropped:
            job.future.cancel()
        for scope in scopes:
            scope.cancel()

    def _has_room(self, lane: str) -> bool:
        return self._running[lane] < self._each and self._running.total() < self._total

    def _begin(self, job: _Job) -> None:
        self._running[job.lane] += 1
        self._scopes.add(job.scope)
        threading.Thread(target=self._work, args=(job,), name=f"resolve-{job.lane}", daemon=True).start()

    def _work(self, job: _Job) -> None:
        try:
            self._run(job)
        finally:
            with self._lock:
                self._scopes.discard(job.scope)
                self._running[job.lane] -= 1
                self._running += Counter()  # lanes that are empty are no more
                following = next((each for each in self._waiting if self._has_room(each.lane)), None)
                if following is not None:
                    self._waiting.remove(following)
                    self._begin(following)

    def _run(self, job: _Job) -> None:
        clock = threading.Timer(self._seconds, job.scope.cancel)
        clock.daemon = True
        clock.start()
        try:
            with job.scope.active():
                result = job.run()
        except Cancelled:
            job.future.set_exception(WorldError(f"there was no answer within {self._seconds:.0f} s"))
        except BaseException as e:
            job.future.set_exception(e)
        else:
            job.future.set_result(result)
        finally:
            clock.cancel()
