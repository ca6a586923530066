"""Reads whole blobs again, slowly, to find what the disk has damaged before a node runs it."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from modelcar.errors import DigestMismatch, InvalidDigest, ModelcarError, StorageError
from modelcar.lazy.throttle import Throttle
from modelcar.oci import Digest
from modelcar.store.disk import atomic_write
from registry_shim.cache.cache import Cache
from registry_shim.cache.check import check_file
from registry_shim.cache.events import UNHEARD, CacheEvents

__all__ = ["ScrubReport", "Scrubber"]

_LOG = logging.getLogger(__name__)
_SAVED_EVERY: Final = 256 << 20  # bytes read between two notes of how far the walk is


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubReport:
    """What one walk found."""

    blobs: int
    size: int
    damaged: tuple[Digest, ...]


class _Stopped(Exception):
    """The walk ends here; it goes on there after the next start."""


class Scrubber:
    """A thread of its own between `start` and `close`. How far it is lies in `ROOT/scrub.json`."""

    def __init__(self, cache: Cache, *, events: CacheEvents = UNHEARD, clock: Callable[[], float] = time.time) -> None:
        self._cache, self._events, self._clock = cache, events, clock
        self._settings = cache.settings
        self._file = cache.layout.root / "scrub.json"
        self._throttle = Throttle(self._settings.scrub_rate or None)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look for files that a crash has left empty, and begin to walk."""
        self.remove_empty()
        if self._settings.scrub_rate > 0:
            self._thread = threading.Thread(target=self._run, name="cache-scrub", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def remove_empty(self) -> int:
        """Quarantine blobs without content; returns how many there were."""
        layout, found = self._cache.layout, 0
        for digest in list(layout.digests()):
            with suppress(OSError):
                if layout.path(digest).stat().st_size == 0 and digest != Digest.of(b"", digest.algorithm):
                    self._quarantine(digest)
                    found += 1
        return found

    def walk(self) -> ScrubReport:
        """Go over all blobs, or on where the last walk was interrupted."""
        begun, after = self._load()
        blobs, size, damaged = 0, 0, []
        saved = 0
        if after is None:
            begun = self._clock()
        for digest in self._cache.layout.digests():
            if after is not None and digest <= after:
                continue
            try:
                n = check_file(self._cache.layout.path(digest), digest, pace=self._pace)
            except FileNotFoundError:
                continue
            except DigestMismatch:
                damaged.append(digest)
                self._quarantine(digest)
                continue
            except StorageError as e:  # the disk says so itself
                _LOG.warning("%s", e)
                damaged.append(digest)
                self._quarantine(digest)
                continue
            blobs, size = blobs + 1, size + n
            self._events.scrubbed(n)
            if size - saved >= _SAVED_EVERY:
                saved = size
                self._save(begun, digest)
        self._save(begun, None)
        return ScrubReport(blobs=blobs, size=size, damaged=tuple(damaged))

    def _run(self) -> None:
        while not self._stop.is_set():
            begun, after = self._load()
            wait = begun + self._settings.scrub_interval - self._clock() if after is None else 0.0
            # A clock that was set back must not put it off for longer than that.
            if self._stop.wait(max(0.0, min(wait, self._settings.scrub_interval))):
                return
            try:
                self.walk()
            except _Stopped:
                return
            except (ModelcarError, OSError) as e:
                _LOG.warning("cannot look for damaged blobs: %s", e)
                if self._stop.wait(min(600.0, self._settings.scrub_interval)):
                    return

    def _pace(self, size: int) -> None:
        if self._stop.wait(self._throttle.take(size)):
            raise _Stopped

    def _quarantine(self, digest: Digest) -> None:
        _LOG.error("%s is damaged on disk and was removed; the next pull fetches it anew", digest)
        try:
            self._cache.quarantine(digest)
        except ModelcarError as e:
            _LOG.error("%s: %s", digest, e)

    def _load(self) -> tuple[float, Digest | None]:
        """When the walk began, and the last blob of it; 0 if none has."""
        try:
            document = json.loads(self._file.read_bytes())
            after = document["after"]
            return min(float(document["begun"]), self._clock()), Digest.parse(after) if after else None
        except (OSError, ValueError, TypeError, KeyError, InvalidDigest):
            return 0.0, None

    def _save(self, begun: float, after: Digest | None) -> None:
        with suppress(StorageError):
            atomic_write(
                self._file, json.dumps({"begun": begun, "after": str(after) if after else None}).encode(), mode=0o600
            )
