"""A file that arrives in pieces, and where the next try goes on if this one ends before.

`PATH` holds the bytes; `PATH.pieces` is text: a JSON object that says what they are pieces of, then the number of each
piece that is here, a line each. A line is written after its bytes. What a crash of the machine may have lost is not
trusted (the object names the boot); a killed process loses nothing. Where boots have no names, as on macOS, bytes are
on the disk before their line is written.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from modelcar.checkpoint.remote import RemoteFile, RemoteSource
from modelcar.errors import NoSpace, StorageError, WorldError

__all__ = ["PIECE", "PartialFile", "fetch", "open_partial"]

PIECE: Final = 8 << 20  # bytes, of large files
_LEAST_PIECE: Final = 1 << 20
_PIECES: Final = 64  # of files that are not so large: a try that ends early loses what was under way
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def piece_of(size: int) -> int:
    """How large the pieces of a file of `size` bytes are."""
    return min(PIECE, max(_LEAST_PIECE, -(-size // _PIECES)))


class PartialFile:
    """What is here of a file of `size` bytes, which lies at `path`. Filled by some threads and awaited by others."""

    def __init__(self, path: Path, size: int, fd: int, pieces: int, *, durable: bool = False) -> None:
        self.path, self.size = path, size
        self._durable = durable
        self._fd, self._list = fd, pieces
        self._piece = piece_of(size)
        self._count = -(-size // self._piece)
        self._here: set[int] = set()
        self._frontier = 0  # pieces from the start without a gap
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._writing = threading.Lock()  # the kernel writes to a file one at a time, and who waits there spins

    @property
    def received(self) -> int:
        """Bytes that are here."""
        last = self._count - 1
        short = self._count * self._piece - self.size if last in self._here else 0
        return len(self._here) * self._piece - short

    def missing(self) -> list[int]:
        """Numbers of the pieces that are not here, in order."""
        return [number for number in range(self._count) if number not in self._here]

    def bounds(self, number: int) -> tuple[int, int]:
        """The bytes `[start, stop)` of a piece."""
        return number * self._piece, min((number + 1) * self._piece, self.size)

    def write(self, offset: int, data: memoryview) -> None:
        """Bytes have come. They count once their piece is `done`.

        Raises:
            NoSpace, StorageError: they cannot be written.
        """
        try:
            with self._writing:
                while data:
                    n = os.pwrite(self._fd, data, offset)
                    data, offset = data[n:], offset + n
        except OSError as e:
            raise _explained(e, self.path) from None

    def done(self, number: int) -> None:
        """A piece is here.

        Raises:
            NoSpace, StorageError: that cannot be noted.
        """
        try:
            if self._durable:
                os.fsync(self._fd)
            os.write(self._list, b"%d\n" % number)
        except OSError as e:
            raise _explained(e, self.path) from None
        self._add(number)

    def wait(self, stop: int) -> None:
        """Return when all of `[0, stop)` is here.

        Raises:
            ModelcarError: it will not come; what `fail` was told.
        """
        with self._changed:
            while self._frontier * self._piece < min(stop, self.size):
                if self._failure is not None:
                    raise self._failure
                self._changed.wait()

    def fail(self, failure: BaseException) -> None:
        """No more will come."""
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def forget(self) -> None:
        """Take nothing of what is here for good."""
        os.ftruncate(self._list, 0)

    def remove(self, *, kept: Path) -> None:
        """The file lies at `kept` now: nothing else is left of it. If that is where it came to, it is known there."""
        if kept != self.path:
            self.path.unlink(missing_ok=True)
            _list_of(self.path).unlink(missing_ok=True)

    def take_over(self, identity: str) -> None:
        """Go on with what an earlier try of the same file left; begin anew where it was another."""
        head, _, rest = os.pread(self._list, os.fstat(self._list).st_size, 0).decode("ascii", "replace").partition("\n")
        here = os.fstat(self._fd).st_size
        if head == identity and here <= self.size:
            for line in rest.split("\n")[:-1]:
                if line.isdecimal() and int(line) < self._count and self.bounds(int(line))[1] <= here:
                    self._add(int(line))
            return
        os.ftruncate(self._list, 0)
        os.ftruncate(self._fd, 0)
        os.write(self._list, f"{identity}\n".encode())

    def _add(self, number: int) -> None:
        with self._changed:
            self._here.add(number)
            while self._frontier in self._here:
                self._frontier += 1
            self._changed.notify_all()


@contextmanager
def open_partial(path: Path, file: RemoteFile) -> Iterator[PartialFile]:
    """The pieces of `file` at `path`; nobody else works on them until the block ends.

    Raises:
        StorageError: it cannot be written there.
    """
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else None
    identity = json.dumps({"version": file.version, "size": file.size, "piece": piece_of(file.size), "boot": boot})
    fds: list[int] = []
    try:
        try:
            fds.append(_locked(_list_of(path), os.O_RDWR | os.O_APPEND))
            fds.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))
            partial = PartialFile(path, file.size, fds[1], fds[0], durable=boot is None)
            partial.take_over(identity)
        except OSError as e:
            raise _explained(e, path) from None
        yield partial
    finally:
        for fd in fds:
            os.close(fd)


def fetch(
    source: RemoteSource,
    file: RemoteFile,
    partial: PartialFile,
    *,
    stopped: Callable[[], bool],
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Bring all pieces of `file` that are missing, the first ones first.

    Args:
        stopped: gives up when it says so.
        advance: is told of bytes as they come.

    Raises:
        WorldError: the source does not give them, or the disk does not take them.
    """

    def bring(number: int) -> None:
        if stopped():
            raise WorldError(f"{file.path} was not brought to its end")
        start, stop = partial.bounds(number)
        source.copy(file, start, stop, partial.write)
        partial.done(number)
        advance(stop - start)

    with ThreadPoolExecutor(source.at_once, thread_name_prefix="modelcar-fetch") as pool:
        futures = [pool.submit(bring, number) for number in partial.missing()]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException as e:
            partial.fail(e)
            raise
        finally:
            for future in futures:
                future.cancel()


def _list_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.pieces")


def _locked(path: Path, flags: int) -> int:
    """Open and lock the list; whoever had it before may have removed it."""
    while True:
        fd = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), path.lstat()):
                    return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _explained(error: OSError, path: Path) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"cannot write {path}: {error.strerror}", hint="make room there, or name another place")
    return StorageError(f"cannot write {path}: {error.strerror}", hint="make the folder writable")
