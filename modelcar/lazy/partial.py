"""A blob of which some chunks are here: see docs/formats/partial-blobs.md for its files.

A chunk is checked in memory and written once, and only then marked in `have`. So a process that is killed loses
nothing and another one goes on. After a crash of the machine the disk may have kept either without the other: what
`have` says is then a claim, which `confirm` checks chunk by chunk. Where nobody reads the data before all is here, a
chunk may also be kept while it comes (`arrive`), so that a process that is killed loses no more than a part of it.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from modelcar.errors import DigestMismatch, InvalidContent, ModelcarError, StorageError
from modelcar.files import read_own
from modelcar.lazy.data import BlobData, Place
from modelcar.lazy.grid import Grid
from modelcar.lazy.parts import PART, Arrival, Parts
from modelcar.lazy.waiting import Waiter, Waiting
from modelcar.store.disk import explain

__all__ = ["MAX_GRID", "PartialBlob"]

MAX_GRID: Final = 256 << 20
"""Bytes of a `grid.json` at most."""

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_BOOT_SIZE: Final = 64  # bytes of `have` before the first chunk's
_SURE, _DOUBTED = b"\1", b"\2"  # what `have` says of chunks that are here


class PartialBlob:
    """Safe to use from several threads; by one process at a time. Close it.

    Nothing here waits for the disk but `put`, `arrive`, `resume`, `keep`, `confirm`, `read`, `read_into` and `sync`.
    """

    def __init__(self, folder: Path, grid: Grid, data: BlobData, have: int) -> None:
        """Use `create` or `open`."""
        self.folder = folder
        self.grid = grid
        self._data, self._have = data, have
        self._state = threading.Condition()
        self._here = bytearray(len(grid))
        self._claimed = bytearray(len(grid))
        self._doubted = bytearray(len(grid))
        self._left = len(grid)
        self._present = 0
        self._parts = Parts(have, _BOOT_SIZE + len(grid), len(grid))
        self._writing: set[int] = set()
        self._waiting = Waiting(self._here)
        self._failure: ModelcarError | None = None

    @classmethod
    def create(cls, folder: Path, grid: Grid, places: Sequence[Place] = ()) -> Self:
        """Begin a blob of which nothing is here. Raises `StorageError`. `places`: where some of it is to lie instead.

        Nothing is synced: what a crash of the machine leaves of these files does not parse, or is checked.
        """
        opened: list[int | BlobData] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "grid.json").unlink(missing_ok=True)  # it comes last, so that it vouches for the others
            data = BlobData.create(folder / "data", grid.size, places)
            opened.append(data)
            have = _create(folder / "have", opened)
            _write(have, _boot().ljust(_BOOT_SIZE) + bytes(len(grid)), 0)
            _publish(folder / "grid.json", grid.to_json())
        except OSError as e:
            _close(opened)
            raise explain(e, f"cannot write {folder}") from None
        return cls(folder, grid, data, have)

    @classmethod
    def open(cls, folder: Path, places: Sequence[Place] = ()) -> Self:
        """Go on with a blob that was made with the same places. Raises `StorageError`, or `InvalidDocument`: remove the
        folder then."""
        opened: list[int | BlobData] = []
        try:
            grid = Grid.parse(read_own(folder / "grid.json", MAX_GRID))
            data = BlobData.open(folder / "data", grid.size, places)
            opened.append(data)
            have = _open(folder / "have", opened)
            known = os.pread(have, _BOOT_SIZE + 2 * len(grid) + 1, 0)
            boot, marks, counts = known[:_BOOT_SIZE], known[_BOOT_SIZE:][: len(grid)], known[_BOOT_SIZE + len(grid) :]
            if len(marks) != len(grid) or len(counts) not in (0, len(grid)):
                raise StorageError(f"{folder} is damaged")
            partial = cls(folder, grid, data, have)
            partial._take_over(boot.rstrip() == _boot(), marks, counts)
        except OSError as e:
            _close(opened)
            raise explain(e, f"cannot open {folder}") from None
        except ModelcarError:
            _close(opened)
            raise
        return partial

    @property
    def size(self) -> int:
        return self.grid.size

    @property
    def complete(self) -> bool:
        """Whether every chunk is here; the digest of the whole is the owner's to check."""
        return self._left == 0

    @property
    def left(self) -> int:
        """How many chunks are not here."""
        return self._left

    @property
    def present(self) -> int:
        """Bytes that are here."""
        return self._present

    @property
    def waiting(self) -> int:
        """How many ranges are waited for."""
        with self._state:
            return len(self._waiting)

    def map(self) -> bytes:
        """One byte a chunk: 1 if it is here."""
        return bytes(self._here)

    def has(self, number: int) -> bool:
        return bool(self._here[number])

    def claims(self, number: int) -> bool:
        """Whether a chunk may be on disk since before the machine started, and is to be confirmed."""
        return bool(self._claimed[number])

    @property
    def before_doubts(self) -> int:
        """How many chunks lie before the first that is doubtful."""
        first = self._doubted.find(1)
        return len(self.grid) if first < 0 else first

    @property
    def unsure(self) -> bool:
        """Whether there are claims."""
        return self._claimed.find(1) >= 0

    def missing(self, offset: int = 0, length: int | None = None) -> Iterator[int]:
        """The chunks of a range that are not here, in order."""
        wanted = self.grid.numbers(offset, self.size - offset if length is None else length)
        number = self.next_missing(wanted.start, wanted.stop)
        while number >= 0:
            yield number
            number = self.next_missing(number + 1, wanted.stop)

    def next_missing(self, start: int, stop: int) -> int:
        """The first chunk of `[start, stop)` that is not here, or -1."""
        return self._here.find(0, start, stop)

    def available(self, offset: int) -> int:
        """How many bytes from `offset` on are here without a gap."""
        if offset >= self.size:
            return 0
        stop = self._here.find(0, self.grid.at(offset))
        end = self.size if stop < 0 else self.grid.bounds(stop)[0]
        return max(0, end - offset)

    def arrived(self, number: int) -> int:
        """Bytes of the beginning of a chunk that have come and are kept, though it is not here."""
        return self._parts.of(number)

    def arrive(self, number: int, *, anew: bool = False) -> Arrival | None:
        """Begin to keep a chunk while it comes: `resume`, `keep` and then `put`. Whoever did so before keeps no more of
        it. `None` if it is here, or may be. Unverified bytes are in `data` from then on, though no `read` returns them.

        Args:
            anew: it comes from its beginning, whatever was kept.

        Raises: `StorageError`.
        """
        if self._claimed[number] or not self._begin(number):
            return None
        with self._ending(number):
            return self._parts.begin(number, anew=anew)

    def resume(self, arrival: Arrival, view: memoryview) -> None:
        """Fill the beginning of `view` with what was kept of the chunk. Raises `StorageError`."""
        offset, _ = self.grid.bounds(arrival.number)
        try:
            n = self._data.read_into(view[: arrival.resumed], offset)
        except OSError as e:
            raise explain(e, f"cannot read {self.folder / 'data'}") from None
        if n < arrival.resumed:
            raise StorageError(f"{self.folder / 'data'} ends early")

    def keep(self, arrival: Arrival, data: memoryview) -> None:
        """Keep what has come of a chunk, `data` from its beginning, in whole parts. Raises `StorageError`."""
        number, size = arrival.number, len(data) // PART * PART
        if size <= arrival.kept or not self._begin(number):
            return
        with self._ending(number):
            if self._parts.is_of(arrival):
                self._data.write(data[arrival.kept : size], self.grid.bounds(number)[0] + arrival.kept)
                self._parts.grows(arrival, size)

    def put(
        self,
        number: int,
        data: bytes | bytearray | memoryview,
        *,
        doubtful: bool = False,
        arrival: Arrival | None = None,
    ) -> bool:
        """Keep a chunk; returns False if it was here already. `doubtful`: its bytes may be anybody's, which only the
        digest of the whole will tell; that is remembered with it. `arrival`: how it was kept while it came.

        Raises:
            DigestMismatch: these are not its bytes; what was kept of them is no more.
            StorageError: the disk does not take them.
        """
        if self._here[number]:
            return False
        try:
            self.grid.check(number, data)
        except DigestMismatch:
            if arrival is not None and self._begin(number):
                with self._ending(number):
                    self._parts.discard(arrival)
            raise
        # Whoever comes second with other bytes, which no digest may forbid, must not write over those of the first.
        if not self._begin(number):
            return False
        offset, _ = self.grid.bounds(number)
        try:
            kept = self._parts.end(number, arrival)  # first: bytes of two who bring it are never taken for one's
            self._data.write(memoryview(data)[kept:], offset + kept)
            _write(self._have, _DOUBTED if doubtful else _SURE, _BOOT_SIZE + number)
        except OSError as e:
            self._end(number)
            raise explain(e, f"cannot write {self.folder / 'data'}") from None
        self._end(number, here=True, settled=True, doubtful=doubtful)
        return True

    def confirm(self, number: int) -> bool:
        """Check a claim; returns whether the chunk is here now. Raises `StorageError`."""
        if not self._begin(number):
            return True
        right = self._is_right(number)
        try:
            if not right:
                _write(self._have, b"\0", _BOOT_SIZE + number)
        except OSError as e:
            self._end(number)
            raise explain(e, f"cannot write {self.folder / 'have'}") from None
        self._end(number, here=right, settled=True)
        return right

    def when(self, offset: int, length: int) -> Future[None]:
        """Done when the whole range is here; fails with what `fail` is told."""
        future: Future[None] = Future()
        numbers = self.grid.numbers(offset, length)
        with self._state:
            failure = self._failure
            ready = failure is None and self._waiting.add(Waiter(numbers, future))
        if failure is not None:
            future.set_exception(failure)
        elif ready:
            future.set_result(None)
        return future

    def wait(self, offset: int, length: int, timeout: float | None = None) -> None:
        """Block until the range is here. Raises `TimeoutError`, or what `fail` was told."""
        self.when(offset, length).result(timeout)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of a range that is here, whole. Raises `StorageError` if it is not, or cannot be read."""
        if next(self.missing(offset, length), None) is not None:
            raise StorageError(f"bytes {offset}-{offset + length - 1} of {self.grid.digest} are not here yet")
        try:
            return self._data.read(length, offset)
        except OSError as e:
            raise explain(e, f"cannot read {self.folder / 'data'}") from None

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill `view` from disk, whatever is there; how many bytes came. Raises `OSError`."""
        return self._data.read_into(view, offset)

    def fileno(self) -> int:
        """The open file of the data, for the kernel to send from; valid until `close`. Not of a blob with places."""
        return self._data.fd

    def forget(self, number: int) -> None:
        """Take a chunk back: its bytes on disk are no longer right."""
        with self._state:
            if self._here[number]:
                self._here[number] = self._doubted[number] = 0
                self._left += 1
                self._present -= self.grid.bounds(number)[1]
                with suppress(OSError):
                    _write(self._have, b"\0", _BOOT_SIZE + number)

    def recheck(self) -> list[int]:
        """Read every chunk from disk, forget those whose bytes are not right, and name them."""
        wrong = [n for n in range(len(self.grid)) if self._here[n] and not self._is_right(n)]
        for number in wrong:
            self.forget(number)
        return wrong

    def fail(self, error: ModelcarError) -> None:
        """Whoever waits, now or later, is told `error`: the blob is revoked, or nobody has it."""
        self.failing(error)()

    def failing(self, error: ModelcarError) -> Callable[[], None]:
        """`fail` in two steps: who comes later is told `error`; who waits already is told by what is returned, which
        is called without a lock."""
        with self._state:
            self._failure = error
            waiting = self._waiting.take()

        def tell() -> None:
            for waiter in waiting:
                waiter.tell(error)

        return tell

    @property
    def refusal(self) -> InvalidContent | None:
        """With what it failed, if that is what it is: then nothing of it is to be shown, not even what was verified."""
        failure = self._failure
        return failure if isinstance(failure, InvalidContent) else None

    def recover(self) -> None:
        """Forget a failure: it may go better now."""
        with self._state:
            self._failure = None

    def sync(self) -> None:
        """Make the data durable. Raises `StorageError`."""
        try:
            self._data.sync()
        except OSError as e:
            raise explain(e, f"cannot write {self.folder}") from None

    def close(self) -> None:
        """What waits is left waiting: `fail` it before."""
        with self._state:
            have, self._have = self._have, -1
            self._parts.close()
            _close([self._data, have] if have >= 0 else [])

    def remove(self) -> None:
        """Close it and delete its files. What is here is lost."""
        self.close()
        self.discard()

    def discard(self) -> None:
        """Delete its files; what is open stays readable. `grid.json` goes first: without it there is no blob."""
        with suppress(OSError):
            (self.folder / "grid.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _take_over(self, sure: bool, marks: bytes, counts: bytes) -> None:
        """Begin with what another process had. `counts`: of the parts of each chunk, or nothing."""
        if not sure:
            self._parts.forget()  # first, and never again to be believed
        if not sure and self.grid.verifiable:
            self._claimed[:] = bytes(map(bool, marks))
            if not any(self._claimed):
                _write(self._have, _boot().ljust(_BOOT_SIZE), 0)
        elif not sure:
            _write(self._have, bytes(len(marks)), _BOOT_SIZE)
            _write(self._have, _boot().ljust(_BOOT_SIZE), 0)  # second: claims must never pass for certain
        else:
            for number, here in enumerate(marks):
                if here:
                    self._mark(number, doubtful=here == _DOUBTED[0])
            for number in (n for n, count in enumerate(counts) if count):
                if marks[number] or counts[number] * PART >= self.grid.bounds(number)[1]:
                    raise StorageError(f"{self.folder} is damaged")
            self._parts.take_over(counts)

    def _begin(self, number: int) -> bool:
        """Take the right to write a chunk; False if it is here, perhaps only after another thread has written it."""
        with self._state:
            while number in self._writing:
                self._state.wait()
            if self._have < 0:
                raise StorageError(f"{self.folder} is closed")
            if self._here[number]:
                return False
            self._writing.add(number)
            return True

    @contextmanager
    def _ending(self, number: int) -> Iterator[None]:
        """Of what was begun, and has not brought the chunk."""
        try:
            yield
        except OSError as e:
            raise explain(e, f"cannot write {self.folder}") from None
        finally:
            self._end(number)

    def _end(self, number: int, *, here: bool = False, settled: bool = False, doubtful: bool = False) -> None:
        """Done with it. `settled`: what `have` says of it is true from now on, so it is a claim no more."""
        ready: list[Waiter] = []
        with self._state:
            self._writing.discard(number)
            if here:
                self._mark(number, doubtful=doubtful)
                ready = self._waiting.arrived(number)
            if settled and self._claimed[number]:
                self._claimed[number] = 0
                if self._claimed.find(1) < 0:
                    with suppress(OSError):  # then all are checked once more, after the next start
                        _write(self._have, _boot().ljust(_BOOT_SIZE), 0)
            self._state.notify_all()
        for waiter in ready:
            waiter.tell(None)

    def _mark(self, number: int, *, doubtful: bool) -> None:
        self._doubted[number] = doubtful  # first: whoever sees the chunk sees that
        self._here[number] = 1
        self._left -= 1
        self._present += self.grid.bounds(number)[1]

    def _is_right(self, number: int) -> bool:
        if not self.grid.verifiable:
            return False
        offset, size = self.grid.bounds(number)
        try:
            self.grid.check(number, self._data.read(size, offset))
        except (ModelcarError, OSError):
            return False
        return True


def _boot() -> bytes:
    try:
        return _BOOT.read_bytes().strip()
    except OSError:  # not Linux: every start counts as a new boot
        return os.urandom(16).hex().encode()


def _create(path: Path, opened: list[int | BlobData]) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    opened.append(fd)
    return fd


def _open(path: Path, opened: list[int | BlobData]) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    opened.append(fd)
    return fd


def _publish(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(content)
    temporary.rename(path)


def _write(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        n = os.pwrite(fd, view, offset)
        view, offset = view[n:], offset + n


def _close(opened: Sequence[int | BlobData]) -> None:
    for one in opened:
        if isinstance(one, BlobData):
            one.close()
        else:
            os.close(one)
