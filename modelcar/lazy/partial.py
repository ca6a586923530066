"""A blob of which some chunks are here.

```
FOLDER/grid.json   how the blob is cut; never changes
FOLDER/have        the boot during which it was written, and then one byte a chunk
FOLDER/data        sparse, of the blob's size: a chunk's bytes are right once `have` says so
```

A chunk is checked in memory and written once, before its byte in `have` is. So a process that is killed loses nothing
and another one goes on; after a crash of the machine, where the disk may have kept either without the other, every
chunk is checked again, or forgotten where only the whole can be checked.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from modelcar.errors import ModelcarError, StorageError
from modelcar.lazy.grid import Grid
from modelcar.store.disk import atomic_write, explain, make_dirs

__all__ = ["PartialBlob"]

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_BOOT_SIZE: Final = 64  # bytes of `have` before the first chunk's


class PartialBlob:
    """Safe to use from several threads; by one process at a time. Close it."""

    def __init__(self, folder: Path, grid: Grid, data: int, have: int) -> None:
        """Use `create` or `open`."""
        self.folder = folder
        self.grid = grid
        self._data, self._have = data, have
        self._lock = threading.Lock()
        self._here = bytearray(len(grid))
        self._left = len(grid)
        self._waiting: list[tuple[range, Future[None]]] = []
        self._failure: ModelcarError | None = None

    @classmethod
    def create(cls, folder: Path, grid: Grid) -> Self:
        """Begin a blob of which nothing is here. Raises `StorageError`."""
        make_dirs(folder)
        try:
            data = os.open(folder / "data", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.ftruncate(data, grid.size)
            have = os.open(folder / "have", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            os.pwrite(have, _boot().ljust(_BOOT_SIZE) + bytes(len(grid)), 0)
        except OSError as e:
            raise explain(e, f"cannot write {folder}") from None
        atomic_write(folder / "grid.json", grid.to_json(), mode=0o600)
        return cls(folder, grid, data, have)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Go on with a blob. Raises `StorageError`, or `InvalidDocument`: remove the folder then."""
        try:
            grid = Grid.parse((folder / "grid.json").read_bytes())
            data = os.open(folder / "data", os.O_RDWR | os.O_CLOEXEC)
            have = os.open(folder / "have", os.O_RDWR | os.O_CLOEXEC)
            known = os.pread(have, _BOOT_SIZE + len(grid), 0)
            if os.fstat(data).st_size != grid.size or len(known) != _BOOT_SIZE + len(grid):
                raise StorageError(f"{folder} is damaged")
        except OSError as e:
            raise explain(e, f"cannot open {folder}") from None
        partial = cls(folder, grid, data, have)
        sure = known[:_BOOT_SIZE].rstrip() == _boot()
        for number in range(len(grid)):
            if known[_BOOT_SIZE + number] and (sure or partial._is_right(number)):
                partial._here[number] = 1
                partial._left -= 1
        if not sure:
            os.pwrite(have, _boot().ljust(_BOOT_SIZE) + bytes(partial._here), 0)
        return partial

    @property
    def size(self) -> int:
        return self.grid.size

    @property
    def complete(self) -> bool:
        """Whether every chunk is here; the digest of the whole is the owner's to check."""
        return self._left == 0

    @property
    def present(self) -> int:
        """Bytes that are here."""
        return sum(self.grid.bounds(n)[1] for n in range(len(self.grid)) if self._here[n])

    def map(self) -> bytes:
        """One byte a chunk: 1 if it is here."""
        return bytes(self._here)

    def has(self, number: int) -> bool:
        return bool(self._here[number])

    def missing(self, offset: int = 0, length: int | None = None) -> Iterator[int]:
        """The chunks of a range that are not here, in order."""
        wanted = self.grid.numbers(offset, self.size - offset if length is None else length)
        return (n for n in wanted if not self._here[n])

    def available(self, offset: int) -> int:
        """How many bytes from `offset` on are here without a gap."""
        if offset >= self.size:
            return 0
        number = self.grid.at(offset)
        stop = self._here.find(0, number)
        end = self.size if stop < 0 else self.grid.bounds(stop)[0]
        return max(0, end - offset)

    def put(self, number: int, data: bytes | bytearray | memoryview) -> bool:
        """Keep a chunk; returns False if it was here already.

        Raises:
            DigestMismatch: these are not its bytes.
            StorageError: the disk does not take them.
        """
        if self._here[number]:
            return False
        self.grid.check(number, data)
        offset, _ = self.grid.bounds(number)
        with self._lock:  # whoever comes second with other bytes (no digest forbids it) must not write over these
            self._check_usable()
            if self._here[number]:
                return False
            try:
                _write(self._data, data, offset)
                os.pwrite(self._have, b"\1", _BOOT_SIZE + number)
            except OSError as e:
                raise explain(e, f"cannot write {self.folder / 'data'}") from None
            self._here[number] = 1
            self._left -= 1
            ready = self._take_ready()
        for future in ready:
            future.set_result(None)
        return True

    def when(self, offset: int, length: int) -> Future[None]:
        """Done when the whole range is here; fails with what `fail` is told."""
        future: Future[None] = Future()
        with self._lock:
            if self._failure is not None:
                future.set_exception(self._failure)
            elif next(self.missing(offset, length), None) is None:
                future.set_result(None)
            else:
                self._waiting.append((self.grid.numbers(offset, length), future))
        return future

    def wait(self, offset: int, length: int, timeout: float | None = None) -> None:
        """Block until the range is here. Raises `TimeoutError`, or what `fail` was told."""
        self.when(offset, length).result(timeout)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of a range that is here, whole. Raises `StorageError` if it is not, or cannot be read."""
        if next(self.missing(offset, length), None) is not None:
            raise StorageError(f"bytes {offset}-{offset + length - 1} of {self.grid.digest} are not here yet")
        try:
            return os.pread(self._data, length, offset)
        except OSError as e:
            raise explain(e, f"cannot read {self.folder / 'data'}") from None

    def fileno(self) -> int:
        """The open file of the data, for the kernel to send from; valid until `close`."""
        return self._data

    def forget(self, number: int) -> None:
        """Take a chunk back: its bytes on disk are no longer right."""
        with self._lock:
            if self._here[number]:
                self._here[number] = 0
                self._left += 1
                with suppress(OSError):
                    os.pwrite(self._have, b"\0", _BOOT_SIZE + number)

    def fail(self, error: ModelcarError) -> None:
        """Whoever waits, now or later, is told `error`: the blob is revoked, or nobody has it."""
        with self._lock:
            self._failure = error
            waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            future.set_exception(error)

    def recover(self) -> None:
        """Forget a failure: it may go better now."""
        with self._lock:
            self._failure = None

    def sync(self) -> None:
        """Make what is here durable."""
        try:
            os.fdatasync(self._data)
            os.fdatasync(self._have)
        except OSError as e:
            raise explain(e, f"cannot write {self.folder}") from None

    def close(self) -> None:
        for fd in (self._data, self._have):
            os.close(fd)
        self._data = self._have = -1

    def remove(self) -> None:
        """Close it and delete its files. What is here is lost."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_right(self, number: int) -> bool:
        if not self.grid.verifiable:
            return False
        offset, size = self.grid.bounds(number)
        try:
            self.grid.check(number, os.pread(self._data, size, offset))
        except (ModelcarError, OSError):
            return False
        return True

    def _check_usable(self) -> None:
        if self._data < 0:
            raise StorageError(f"{self.folder} is closed")

    def _take_ready(self) -> list[Future[None]]:
        ready = [future for numbers, future in self._waiting if all(self._here[n] for n in numbers)]
        if ready:
            self._waiting = [(numbers, future) for numbers, future in self._waiting if future not in ready]
        return ready


def _boot() -> bytes:
    try:
        return _BOOT.read_bytes().strip()
    except OSError:  # not Linux: every start counts as a new boot
        return os.urandom(16).hex().encode()


def _write(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        n = os.pwrite(fd, view, offset)
        view, offset = view[n:], offset + n
