"""Room that was promised, so that no two transfers count on the same free bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

from modelcar.cache.stored import Stored
from modelcar.oci import Digest

__all__ = ["Reserves"]

_BEGINNING: Final = 30.0  # seconds that a transfer has from being granted its room to running


class Reserves:
    """Promises by digest, in bytes of the whole blob: what of it is on disk already is no longer outstanding.

    A `grant` is for one transfer and ends with it; a `hold` is for a set of blobs and ends when it is released.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._grants: dict[Digest, tuple[int, float]] = {}
        self._begun: set[Digest] = set()
        self._holds: list[Mapping[Digest, int]] = []

    def grant(self, digest: Digest, size: int) -> None:
        with self._lock:
            self._grants[digest] = size, self._clock()
            self._begun.discard(digest)

    def hold(self, sizes: Mapping[Digest, int]) -> None:
        with self._lock:
            self._holds.append(sizes)

    def release(self, sizes: Mapping[Digest, int]) -> None:
        with self._lock:
            self._holds = [held for held in self._holds if held is not sizes]

    def settle(self, running: Collection[Digest], stored: Mapping[Digest, Stored]) -> None:
        """Forget grants of transfers that are over."""
        with self._lock:
            since = self._clock() - _BEGINNING
            self._grants = {
                d: (n, at)
                for d, (n, at) in self._grants.items()
                if d in running or (at > since and d not in self._begun and (d not in stored or stored[d].partial))
            }
            self._begun = {d for d in self._grants if d in running}

    def granted(self) -> set[Digest]:
        """Of which a transfer begins or runs."""
        with self._lock:
            return set(self._grants)

    def sizes(self) -> dict[Digest, int]:
        """Bytes promised to each digest; what two promises have in common counts once."""
        with self._lock:
            sizes = {digest: size for digest, (size, _) in self._grants.items()}
            for held in self._holds:
                sizes |= held
            return sizes

    def outstanding(self, stored: Mapping[Digest, Stored], besides: Collection[Digest] = ()) -> int:
        """Bytes that are promised and not written yet, those of `besides` left out."""
        return sum(
            max(0, size - (stored[digest].size if digest in stored else 0))
            for digest, size in self.sizes().items()
            if digest not in besides
        )
