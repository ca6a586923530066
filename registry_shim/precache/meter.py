"""How fast an image arrives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.oci import Descriptor, Digest
from registry_shim.precache.doors import Presence
from registry_shim.precache.entry import Progress

__all__ = ["Meter"]

_SMOOTHING: Final = 5.0  # seconds over which the rate is averaged


class Meter:
    """Looks at what is here of some blobs, and tells `report`."""

    def __init__(
        self,
        blobs: Sequence[Descriptor],
        presence: Callable[[Digest], Presence],
        report: Callable[[Progress], None],
        clock: Callable[[], float],
    ) -> None:
        self._blobs = blobs
        self._presence = presence
        self._report = report
        self._clock = clock
        self._whole: dict[Digest, Presence] = {}  # need not be looked at again
        self._last: tuple[float, int] | None = None
        self._rate = 0.0
        self.look()

    def look(self) -> None:
        found = [self._look_at(blob) for blob in self._blobs]
        done = sum(presence.size for presence in found)
        self._rate = self._measured(done)
        self._report(
            Progress(
                done=done,
                total=sum(blob.size for blob in self._blobs),
                chunks=sum(
                    presence.chunks_in_all or -(-blob.size // CHUNK_SIZE)
                    for blob, presence in zip(self._blobs, found, strict=True)
                ),
                chunks_done=sum(presence.chunks for presence in found),
                rate=self._rate,
            )
        )

    def _look_at(self, blob: Descriptor) -> Presence:
        if blob.digest in self._whole:
            return self._whole[blob.digest]
        presence = self._presence(blob.digest)
        if presence.whole:
            self._whole[blob.digest] = presence
        return presence

    def _measured(self, done: int) -> float:
        now = self._clock()
        if self._last is None:
            self._last = now, done
            return 0.0
        seconds, size = now - self._last[0], done - self._last[1]
        if seconds < 0.05:  # too short to tell
            return self._rate
        self._last = now, done
        weight = min(1.0, seconds / _SMOOTHING) if self._rate else 1.0
        return max(0.0, self._rate + weight * (size / seconds - self._rate))
