"""How many bytes of blobs a client has moved, for whoever wants to know what a push cost."""

from __future__ import annotations

import threading
from dataclasses import dataclass

__all__ = ["Moved", "Tally"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Bytes of blobs: `sent` to registries, repeated ones counted as often as they went; `reused` because the registry
    had them, in this repository or another."""

    sent: int
    reused: int


class Tally:
    """Counts; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent = 0
        self._reused = 0

    def sent(self, n: int) -> None:
        with self._lock:
            self._sent += n

    def reused(self, n: int) -> None:
        with self._lock:
            self._reused += n

    @property
    def moved(self) -> Moved:
        with self._lock:
            return Moved(sent=self._sent, reused=self._reused)
