"""When each blob was last used. Kept in memory, and written now and then: what a killed shim forgets is a minute."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelcar.errors import InvalidDocument
from modelcar.files import read_own
from modelcar.oci import Digest, compact_json, parse_object
from modelcar.store.disk import atomic_write

__all__ = ["Uses"]

_MAX_FILE: Final = 64 << 20  # bytes


class Uses:
    """Times in seconds since the epoch, in `path`. A file that is missing or damaged is as good as an empty one: the
    files' own times stand in. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._times = _read(path)
        self._changed = False

    def touch(self, digest: Digest, now: float) -> None:
        """Note a use. Touches memory only."""
        with self._lock:
            if now > self._times.get(str(digest), 0.0):
                self._times[str(digest)] = now
                self._changed = True

    def of(self, digest: Digest) -> float:
        """0 if it is not known."""
        return self._times.get(str(digest), 0.0)

    def keep(self, digests: Iterable[Digest]) -> None:
        """Forget all but these."""
        names = set(map(str, digests))
        with self._lock:
            kept = {name: time for name, time in self._times.items() if name in names}
            self._changed |= len(kept) < len(self._times)
            self._times = kept

    def save(self) -> None:
        """Write what has changed, if anything. Raises `StorageError`."""
        with self._lock:
            if not self._changed:
                return
            content = compact_json({name: round(time, 1) for name, time in self._times.items()})
            self._changed = False
        atomic_write(self._path, content, mode=0o600)


def _read(path: Path) -> dict[str, float]:
    with suppress(OSError, InvalidDocument, OverflowError):
        document = parse_object(read_own(path, _MAX_FILE), "uses", limit=_MAX_FILE)
        return {name: float(time) for name, time in document.items() if isinstance(time, int | float)}
    return {}
