"""Bringing a file of a checkpoint here, hashed right behind its bytes and published once it is what was promised."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from modelcar.checkpoint.file import CheckpointFile
from modelcar.checkpoint.pieces import PartialFile, fetch, open_partial
from modelcar.checkpoint.remote import Remote, RemoteFile
from modelcar.errors import DigestMismatch
from modelcar.files import FileStamp
from modelcar.progress import SILENT, Progress

__all__ = ["Arrival", "arriving", "bring_all", "bring_file"]

_BUFFER: Final = 1 << 20


class Arrival:
    """A file on its way. `path` is where its bytes appear, from the first to the last; `wait(stop)` until when."""

    def __init__(self, remote: Remote, file: CheckpointFile, pieces: PartialFile, here: Path | None = None) -> None:
        self._remote, self._file, self._pieces, self._here = remote, file, pieces, here

    @property
    def path(self) -> Path:
        return self._here or self._pieces.path

    def wait(self, stop: int) -> None:
        """Return when the bytes `[0, stop)` can be read at `path`.

        Raises:
            WorldError: they will not come.
        """
        if self._here is None:
            self._pieces.wait(stop)

    def finish(self, sha256: str | None) -> CheckpointFile:
        """Publish the file, whose whole content hashes to `sha256` as the caller found; `None` if nobody asked.

        Raises:
            DigestMismatch: the source promised something else. The next try begins anew.
            WorldError: it cannot be published.
        """
        self.wait(self._file.size)
        listed = self._listed
        if listed.sha256 is not None and sha256 != listed.sha256:
            self._pieces.forget()
            raise DigestMismatch(
                f"{self._file.path} of {self._remote.source.name} hashes to {(sha256 or 'nothing')[:12]}…, "
                f"where {listed.sha256[:12]}… was promised",
                hint="try again, which downloads it anew; if that does not help, its publisher should upload it again",
            )
        settled = self.path.stat()
        place = self._here or self._remote.source.keep(listed, self.path)
        now = place.stat()
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (settled.st_ino, settled.st_size, settled.st_mtime_ns):
            now = _same_content(place, sha256)  # a copy on another disk
        self._pieces.remove(kept=place)
        return replace(self._file, source=place, stamp=FileStamp.from_stat(now), awaited=False)

    @property
    def _listed(self) -> RemoteFile:
        return self._remote.files[self._file.path]


@contextmanager
def arriving(
    remote: Remote,
    file: CheckpointFile,
    *,
    stopped: Callable[[], bool] = lambda: False,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[Arrival]:
    """Bring `file`, which is awaited, while the block runs. Leaving it ends the transfer; what has come is kept.

    Args:
        stopped: gives up when it says so.
        advance: is told of bytes as they come.

    Raises:
        StorageError: there is no place for it.
    """
    listed = remote.files[file.path]
    ended = threading.Event()
    with open_partial(remote.source.place(listed), listed) as pieces:
        here = remote.source.existing(listed)  # another process may have brought it while this one waited for the lock
        if here is not None:
            yield Arrival(remote, file, pieces, here)
            return
        advance(pieces.received)

        def work() -> None:
            try:
                fetch(remote.source, listed, pieces, stopped=lambda: ended.is_set() or stopped(), advance=advance)
            except BaseException as e:  # whoever waits raises it
                pieces.fail(e)

        thread = threading.Thread(target=work, name="modelcar-arrival")
        thread.start()
        try:
            yield Arrival(remote, file, pieces)
        finally:
            ended.set()
            thread.join()


def bring_file(
    remote: Remote,
    file: CheckpointFile,
    *,
    stopped: Callable[[], bool] = lambda: False,
    advance: Callable[[int], None] = lambda _: None,
) -> CheckpointFile:
    """`file`, which is awaited, here and verified.

    Raises:
        DigestMismatch: something else came than was promised.
        WorldError: it cannot be brought.
    """
    with arriving(remote, file, stopped=stopped, advance=advance) as arrival:
        return arrival.finish(_hashed(arrival, file.size))


def bring_all(
    remote: Remote, files: Sequence[CheckpointFile], progress: Progress = SILENT
) -> tuple[CheckpointFile, ...]:
    """`files`, those that are awaited brought here, each verified where the source says what it should hash to.

    Raises:
        DigestMismatch: something else came than was promised.
        WorldError: a file cannot be brought.
    """
    progress.expect(sum(file.size for file in files if file.awaited))
    here = []
    for file in files:
        if file.awaited:
            key = f"fetch {file.path}"
            progress.start(key, file.path, file.size)
            file = bring_file(remote, file, advance=partial(progress.advance, key))
            progress.finish(key)
        here.append(file)
    return tuple(here)


def _hashed(arrival: Arrival, size: int) -> str:
    state, buffer, offset = hashlib.sha256(), memoryview(bytearray(_BUFFER)), 0
    with arrival.path.open("rb", buffering=0) as f:
        while offset < size:
            arrival.wait(min(offset + len(buffer), size))
            n = f.readinto(buffer[: size - offset])
            if not n:
                break
            state.update(buffer[:n])
            offset += n
    return state.hexdigest()


def _same_content(path: Path, sha256: str | None) -> os.stat_result:
    with path.open("rb") as f:
        status = os.fstat(f.fileno())
        if sha256 is None or hashlib.file_digest(f, "sha256").hexdigest() != sha256:
            raise DigestMismatch(f"{path} is not what was brought there", hint="try again")
    return status


def _status(path: Path) -> os.stat_result:
    return path.stat()
