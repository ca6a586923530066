"""Uploads that are under way, on disk, so that one that was killed goes on where the registry has come to.

A file an upload, locked while it runs: two pushes of the same blob never share a session. It holds the session's URL,
which a registry may have signed; so folder and files are private to their owner, and no message quotes them. A killed
process loses nothing; after a crash of the machine a file may be torn, and is then as good as none.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from modelcar.registry.dialects import Way, canonical

__all__ = ["Journal", "Record", "Standing"]

_VERSION: Final = 1
_KEEP: Final = 7 * 86_400.0  # seconds; registries drop sessions after that at the latest
_LARGEST: Final = 64 << 10  # bytes of an entry
_SYNC: Final = 5.0  # seconds between two flushes of one entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An open upload session. Sizes are bytes.

    Attributes:
        location: its URL.
        least: the smallest piece that it takes.
        way: what has turned out to be the way to go on with it.
        piece: the largest piece, with `Way.PIECES`.
        offset: what the registry has acknowledged.
        sending: what was about to follow, and may be there, too.
    """

    location: str
    least: int = 0
    way: Way | None = None
    piece: int = 0
    offset: int = 0
    sending: int = 0


class Record:
    """The entry of one upload, while that runs. Failures of the disk are silent: the upload does not need it."""

    def __init__(self, fd: int | None, path: Path | None, facts: dict[str, Any]) -> None:
        self._fd, self._path, self._facts = fd, path, facts
        self._noted: Standing | None = None
        self._synced = float("-inf")

    @property
    def kept(self) -> bool:
        """Whether what is noted outlives the process."""
        return self._fd is not None

    def find(self) -> Standing | None:
        """The session that an earlier process left, if it is not too old."""
        if self._fd is None:
            return None
        try:
            text = os.pread(self._fd, _LARGEST, 0).decode()
            entry, _ = json.JSONDecoder().raw_decode(text)  # a kill may leave the end of a longer one behind it
            if any(entry[name] != value for name, value in self._facts.items()) or time.time() - entry["at"] > _KEEP:
                return None
            return Standing(
                location=str(entry["location"]),
                least=int(entry["least"]),
                way=Way(entry["way"]) if entry.get("way") else None,
                piece=max(0, int(entry.get("piece", 0))),
                offset=_within(entry.get("offset", 0), entry["size"]),
                sending=_within(entry.get("sending", 0), entry["size"] - entry.get("offset", 0)),
            )
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def note(self, standing: Standing) -> None:
        """The session is at this place now. Written only where that is news: about once for each request."""
        if self._fd is None or standing == self._noted:
            return
        data = json.dumps({**self._facts, **asdict(standing), "at": time.time()}).encode()
        with suppress(OSError):
            os.pwrite(self._fd, data, 0)
            os.ftruncate(self._fd, len(data))
            self._noted = standing
            if time.monotonic() - self._synced > _SYNC:
                os.fsync(self._fd)
                self._synced = time.monotonic()

    def clear(self) -> None:
        """There is no session any more."""
        self._noted = None
        if self._fd is not None:
            with suppress(OSError):
                os.ftruncate(self._fd, 0)

    def close(self) -> None:
        """Leave what was noted to the next process; with nothing noted, no file stays."""
        if self._fd is None or self._path is None:
            return
        with suppress(OSError):
            if os.fstat(self._fd).st_size == 0:
                self._path.unlink()
        os.close(self._fd)
        self._fd = None


class Journal:
    """In `folder`, which is made when it is first needed; without one, nothing is kept."""

    def __init__(self, folder: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._swept = False

    @contextmanager
    def upload(self, registry: str, repository: str, content: str, size: int) -> Iterator[Record]:
        """The entry of an upload of `content`: a digest, or what else stands for these bytes and no others."""
        facts = {
            "version": _VERSION,
            "registry": canonical(registry),
            "repository": repository,
            "content": content,
            "size": size,
        }
        record = self._open(facts)
        try:
            yield record
        finally:
            record.close()

    def _open(self, facts: dict[str, Any]) -> Record:
        """Somebody else's entry, or none that can be written, is none."""
        nothing = Record(None, None, facts)
        if self._folder is None:
            return nothing
        name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        path = self._folder / f"{name}.json"
        fd = -1
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep(self._folder)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            st = os.fstat(fd)
            if st.st_nlink and st.st_uid == os.geteuid() and not st.st_mode & 0o077:
                return Record(fd, path, facts)
        except OSError:
            pass
        if fd >= 0:
            os.close(fd)
        return nothing

    def _sweep(self, folder: Path) -> None:
        """Entries that are too old to be of use, once a process."""
        if self._swept:
            return
        self._swept = True
        for path in folder.glob("*.json"):
            with suppress(OSError):
                if self._clock() - path.stat().st_mtime > _KEEP:
                    path.unlink()


def _within(number: object, most: int) -> int:
    """A number of bytes, of `most`. Raises `ValueError` for what is none."""
    if not isinstance(number, int) or not 0 <= number <= most:
        raise ValueError(f"{number!r} is not within 0 and {most}")
    return number
