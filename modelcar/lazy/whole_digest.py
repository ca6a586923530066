"""The digest of a whole blob, computed along its contiguous prefix while its chunks arrive."""

from __future__ import annotations

import threading
from typing import Final

from modelcar.errors import DigestMismatch, StorageError
from modelcar.lazy.partial import PartialBlob
from modelcar.store.disk import explain

__all__ = ["WholeDigest"]

_STEP: Final = 256 << 10  # bytes; what is read from the page cache is hashed within the core's own cache
_STRIDE: Final = 3  # chunks at a time, so that whoever brings one chunk catches up with those that came out of order


class WholeDigest:
    """Safe to use from several threads; one hashes at a time, and the others go on with what they do."""

    def __init__(self, partial: PartialBlob) -> None:
        self._partial = partial
        self._hash = partial.grid.digest.hasher()
        self._lock = threading.Lock()
        self._next = 0  # the first chunk that is not hashed
        self._buffer = memoryview(bytearray(_STEP))

    @property
    def hashed(self) -> int:
        """Chunks of the prefix that were hashed."""
        return self._next

    def advance(self, chunks: int = _STRIDE) -> None:
        """Hash up to so many chunks of what is here. Raises `StorageError`."""
        while chunks > 0 and self._ready() and self._lock.acquire(blocking=False):
            try:
                while chunks > 0 and self._ready():
                    self._feed(self._next)
                    self._next += 1
                    chunks -= 1
            finally:
                self._lock.release()

    def check(self) -> None:
        """Hash the rest of a blob of which all is here.

        Raises:
            DigestMismatch: it is not the blob that its digest names.
            StorageError: it cannot be read, or is not all here.
        """
        grid = self._partial.grid
        with self._lock:
            while self._ready():
                self._feed(self._next)
                self._next += 1
            if self._next < len(grid):
                raise StorageError(f"chunk {self._next} of {grid.digest} is not here yet")
            found = self._hash.hexdigest()
        if found != grid.digest.hex:
            raise DigestMismatch(f"content promised as {grid.digest} hashes to {grid.digest.algorithm}:{found}")

    def restart(self) -> None:
        """Begin anew: chunks were taken back."""
        with self._lock:
            self._hash = self._partial.grid.digest.hasher()
            self._next = 0

    def _ready(self) -> bool:
        return self._next < len(self._partial.grid) and self._partial.has(self._next)

    def _feed(self, number: int) -> None:
        offset, left = self._partial.grid.bounds(number)
        while left:
            view = self._buffer[: min(left, _STEP)]
            try:
                n = self._partial.read_into(view, offset)
            except OSError as e:
                raise explain(e, f"cannot read {self._partial.folder / 'data'}") from None
            if n == 0:
                raise StorageError(f"{self._partial.folder / 'data'} ends early")
            self._hash.update(view[:n])
            offset, left = offset + n, left - n
