"""A worker's sign of life: it tells the supervisor again and again that its threads get on with what they do.

A worker that is stopped tells nothing, and the supervisor replaces it. One of which a thread is stuck ends by itself.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from typing import Final

__all__ = ["BEAT", "Busy", "Pulse"]

BEAT: Final = b"\1"
_BEATS: Final = 6  # in the time that a worker may be silent for
_log = logging.getLogger(__name__)

Busy = Callable[[], Iterable[Hashable]]
"""What is being worked on now, by names that nothing else ever has. What waits for the host is not among it."""


class Pulse:
    """Of one worker. Time in which none of its threads runs does not count, as on a machine that was suspended."""

    def __init__(self, supervisor: socket.socket, limit: float) -> None:
        """`limit`: seconds that a thread may be at one thing."""
        self._supervisor = supervisor
        self._limit = limit

    def follow(self, busy: Busy) -> None:
        """Begin, as the worker serves now. `busy` is asked from another thread, and must not wait for any lock."""
        self._beat()
        threading.Thread(target=self._run, args=(busy,), name="pulse", daemon=True).start()

    def _run(self, busy: Busy) -> None:
        seen: Counter[Hashable] = Counter()
        while True:
            time.sleep(self._limit / _BEATS)
            seen = Counter({thing: seen[thing] + 1 for thing in busy()})
            if max(seen.values(), default=0) > _BEATS:
                _end(self._limit)
            self._beat()

    def _beat(self) -> None:
        with suppress(OSError):  # it is gone, or does not listen
            self._supervisor.send(BEAT, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _end(limit: float) -> None:
    """As if killed: the next worker answers what this one was asked."""
    _log.error("a thread has got nowhere for %g s; another worker takes over", limit)
    with suppress(OSError, ValueError, RuntimeError):
        faulthandler.dump_traceback()
    os._exit(1)
