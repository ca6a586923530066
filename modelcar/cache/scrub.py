"""Reads whole blobs again, slowly, to find what the disk has damaged before a node runs it."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.cache.cache import Cache
from modelcar.cache.check import check_file
from modelcar.cache.events import UNHEARD, CacheEvents
from modelcar.errors import DigestMismatch, InvalidDigest, ModelcarError, StorageError
from modelcar.files import read_own
from modelcar.oci import Digest
from modelcar.store.disk import atomic_write
from modelcar.throttle import Throttle

__all__ = ["ScrubReport", "Scrubber"]

_LOG = logging.getLogger(__name__)
_SAME_PULL: Final = 5.0  # seconds within which requests for a blob are one pull
_REMEMBERED: Final = 10_000  # blobs
_SAVED_EVERY: Final = 256 << 20  # bytes read between two notes of how far the walk is
_MAX_FILE: Final = 4096  # bytes
_REST: Final = 0.5  # seconds between two walks, at least: there may be nothing to walk over


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubReport:
    """What one walk found."""

    blobs: int
    size: int
    damaged: tuple[Digest, ...]


class _Stopped(Exception):
    """The walk ends here; it goes on there after the next start."""


class Scrubber:
    """A thread of its own between `start` and `close`. How far its walk is lies in `ROOT/scrub.json`.

    A blob that is pulled a second time after a while is looked at before others: the engine may have found that what it
    got the first time is wrong.
    """

    def __init__(
        self,
        cache: Cache,
        *,
        events: CacheEvents = UNHEARD,
        clock: Callable[[], float] = time.time,
        boot: Path = Path("/proc/sys/kernel/random/boot_id"),
    ) -> None:
        self._cache, self._events, self._clock, self._boot = cache, events, clock, boot
        self._settings = cache.settings
        self._file = cache.layout.root / "scrub.json"
        self._throttle = Throttle(self._settings.scrub_rate or None)
        self._wake = threading.Condition()
        self._stopped = False
        self._pulled: OrderedDict[Digest, float] = OrderedDict()  # when it was pulled first, of late
        self._suspects: OrderedDict[Digest, None] = OrderedDict()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look for files that a crash has left empty, and begin to walk."""
        self.remove_empty()
        if self._settings.scrub_rate > 0:
            self._cache.on_whole(self.pulled)
            self._thread = threading.Thread(target=self._run, name="cache-scrub", daemon=True)
            self._thread.start()

    def close(self) -> None:
        with self._wake:
            self._stopped = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join()

    def pulled(self, digest: Digest) -> None:
        """A whole blob is served. Quick; from any thread."""
        now = time.monotonic()
        with self._wake:
            first = self._pulled.setdefault(digest, now)
            if now - first < _SAME_PULL:
                return  # one pull asks for many ranges
            self._pulled[digest] = now
            self._pulled.move_to_end(digest)
            while len(self._pulled) > _REMEMBERED:
                self._pulled.popitem(last=False)
            self._suspects[digest] = None
            self._wake.notify_all()

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
        blobs, size, saved = 0, 0, 0
        damaged: list[Digest] = []
        if after is None:
            begun = self._clock()
        for digest in self._cache.layout.digests():
            if after is not None and digest <= after:
                continue
            self._look_at_suspects()
            try:
                n = self.check(digest)
            except DigestMismatch:
                damaged.append(digest)
                continue
            blobs, size = blobs + 1, size + n
            if size - saved >= _SAVED_EVERY:
                saved = size
                self._save(begun, digest)
        self._save(begun, None)
        return ScrubReport(blobs=blobs, size=size, damaged=tuple(damaged))

    def check(self, digest: Digest) -> int:
        """Read one blob and return its size; 0 if it is not here any more, or cannot be looked at now.

        Raises:
            DigestMismatch: it is damaged, and was quarantined.
        """
        try:
            size = check_file(self._cache.layout.path(digest), digest, pace=self._pace)
        except FileNotFoundError:
            return 0
        except StorageError as e:  # too many open files, say: that tells nothing of the blob
            _LOG.warning("%s", e)
            return 0
        except DigestMismatch:
            self._quarantine(digest)
            raise
        self._events.scrubbed(size)
        return size

    def _run(self) -> None:
        rest = 0.0
        try:
            while True:
                begun, after = self._load()
                wait = begun + self._settings.scrub_interval - self._clock() if after is None else 0.0
                # A clock that was set back must not put it off for longer than that.
                self._pause(max(rest, min(wait, self._settings.scrub_interval)))
                rest = _REST
                try:
                    self.walk()
                except (ModelcarError, OSError) as e:
                    _LOG.warning("cannot look for damaged blobs: %s", e)
                    self._pause(min(600.0, self._settings.scrub_interval))
        except _Stopped:
            return

    def _pause(self, seconds: float) -> None:
        """Wait, looking at suspects meanwhile."""
        end = time.monotonic() + seconds
        if self._stopped:
            raise _Stopped
        while (left := end - time.monotonic()) > 0:
            with self._wake:
                if not self._suspects and not self._stopped:
                    self._wake.wait(left)
                if self._stopped:
                    raise _Stopped
            self._look_at_suspects()

    def _look_at_suspects(self) -> None:
        while self._suspects:
            with self._wake:
                digest, _ = self._suspects.popitem(last=False)
            with suppress(DigestMismatch):
                self.check(digest)

    def _pace(self, size: int) -> None:
        delay = self._throttle.take(size)
        with self._wake:
            if not self._stopped and delay > 0:
                self._wake.wait(delay)
            if self._stopped:
                raise _Stopped

    def _quarantine(self, digest: Digest) -> None:
        _LOG.error("%s is damaged on disk and was removed; the next pull fetches it anew", digest)
        try:
            self._cache.quarantine(digest)
        except ModelcarError as e:
            _LOG.error("%s: %s", digest, e)

    def _load(self) -> tuple[float, Digest | None]:
        """When the walk began, and the last blob of it; 0 if none has since the machine was started."""
        try:
            document = json.loads(read_own(self._file, _MAX_FILE))
            after = document["after"]
            if document["boot"] != self._boot_id():
                return 0.0, None
            return min(float(document["begun"]), self._clock()), Digest.parse(after) if after else None
        except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError, InvalidDigest):
            return 0.0, None

    def _save(self, begun: float, after: Digest | None) -> None:
        document = {"begun": begun, "after": str(after) if after else None, "boot": self._boot_id()}
        with suppress(StorageError):
            atomic_write(self._file, json.dumps(document).encode(), mode=0o600)

    def _boot_id(self) -> str:
        try:
            return self._boot.read_text().strip()
        except OSError:
            return ""
