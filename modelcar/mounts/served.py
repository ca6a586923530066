"""One mount, as its host has it: a lease of every blob, and whoever waits for some of them."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol

from modelcar.backoff import Backoff
from modelcar.cache.lease import Lasting, Purpose
from modelcar.cache.origin import Origin
from modelcar.errors import ModelcarError, StorageError, WorldError
from modelcar.lazy.grid import Grid
from modelcar.mounts.ahead import Ahead, Ranges
from modelcar.mounts.plan import MountPlan
from modelcar.oci import Descriptor, Digest

__all__ = ["LastingLeases", "Listener", "ServedMount", "Wanted"]

_PATIENCE: Final = 120.0  # seconds that a failure which may pass is not told
_DISK_PATIENCE: Final = 5.0
_BACKOFF: Final = Backoff(0.5, 5.0, spread=0.0)
_NOTHING: Final[Mapping[int, Ranges]] = MappingProxyType({})

Answered = Callable[[int, int, str], None]
"""`(stop, errno, text)`: the range can be read, and what follows up to `stop`; or an error."""
Later = Callable[[float, Callable[[], None]], None]
"""Do something in so many seconds."""


class LastingLeases(Protocol):
    """The cache, as mounts use it."""

    def lease(
        self, origin: Origin, descriptor: Descriptor, *, grid: Grid | None = None, purpose: Purpose = Purpose.PULL
    ) -> Lasting: ...


class Listener(Protocol):
    """Told from any thread: be quick."""

    def whole(self, blob: int, size: int) -> None:
        """All of a blob can be read."""

    def gone(self, blob: int, errno: int, text: str) -> None:
        """Nothing of it may be read any more."""


class ServedMount:
    """Safe to use from several threads. Close it.

    A blob without a chunk table can be read when all of it was found right, and not before.
    """

    def __init__(
        self,
        plan: MountPlan,
        grids: Mapping[Digest, Grid],
        leases: LastingLeases,
        origin: Origin,
        *,
        later: Later,
        wake: Callable[[], None],
        first: Mapping[int, Ranges] = _NOTHING,
    ) -> None:
        """`first` comes before the rest. Raises what leases of its blobs do, except that a blob which cannot be trusted
        is only lost."""
        self.plan = plan
        self._leases, self._origin, self._later = leases, origin, later
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._held: list[Lasting | None] = []
        self._lost: dict[int, str] = {}
        self._wanted: set[Wanted] = set()
        self.answered = self.failed = 0
        """Ranges that somebody waited for: those that came, and those that were errors."""
        self._grids = [grids.get(blob.digest) for blob in plan.blobs]
        self.ahead = Ahead(range(len(plan.blobs)), first, self._lease, wake)
        self._index: Lasting | None = None
        try:
            if plan.index is not None:  # the next host needs it, too
                self._index = leases.lease(origin, plan.index, purpose=Purpose.MOUNT)
            for blob in range(len(plan.blobs)):
                self._hold(blob)
        except BaseException:
            self.close()
            raise

    @property
    def clients(self) -> int:
        """How many doors there are to it."""
        return len(self._listeners)

    @property
    def waiting(self) -> int:
        """How many ranges somebody waits for."""
        return len(self._wanted)

    @property
    def total_present(self) -> int:
        """Bytes of all blobs that are here."""
        return sum(self.present(blob) for blob in range(len(self.plan.blobs)))

    def file(self, blob: int) -> int:
        """An open file, for reading only, which the caller closes; of a blob that is lost one that holds nothing.

        Raises `StorageError` if no more files may be open."""
        held = self._held[blob]
        try:
            if held is None or blob in self._lost:
                return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            return os.open(f"/proc/self/fd/{held.slice(0, 0).fd}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as e:
            raise StorageError(f"cannot open the file of {self.plan.blobs[blob].digest}: {e.strerror}") from None

    def present(self, blob: int) -> int:
        """Bytes of a blob that are here."""
        held = self._held[blob]
        return 0 if held is None or blob in self._lost else held.present

    def available(self, blob: int, offset: int) -> int:
        """How many bytes from `offset` on can be read, without a gap."""
        held = self._held[blob]
        if held is None or blob in self._lost:
            return 0
        here = held.available(offset)
        if not held.grid.verifiable and held.available(0) < held.grid.size:
            return 0
        return here

    def after(self, blob: int, offset: int) -> int:
        """Where the chunk that byte `offset` lies in ends; what is readable begins and ends between chunks."""
        held = self._held[blob]
        if held is None or not held.grid.verifiable:
            return self.plan.blobs[blob].size
        start, size = held.grid.bounds(held.grid.at(offset))
        return start + size

    def lost(self, blob: int) -> str | None:
        """Why nothing of a blob can be read any more."""
        return self._lost.get(blob)

    def want(self, blob: int, offset: int, length: int, answered: Answered) -> Wanted:
        """Somebody waits for a range. Raises `ValueError` where there is none."""
        if not (0 <= blob < len(self.plan.blobs) and 0 <= offset <= offset + length <= self.plan.blobs[blob].size):
            raise ValueError(f"there are no bytes {offset}-{offset + length} of blob {blob}")
        wanted = Wanted(self, blob, offset, length, answered)
        with self._lock:
            self._wanted.add(wanted)
        wanted.ask()
        return wanted

    def listen(self, listener: Listener) -> None:
        """From now on it is told; first of what it has missed."""
        with self._lock:
            self._listeners.append(listener)
        for blob, descriptor in enumerate(self.plan.blobs):
            if blob in self._lost:
                listener.gone(blob, errno.EIO, self._lost[blob])
            elif self.available(blob, 0) == descriptor.size:
                listener.whole(blob, descriptor.size)

    def leave(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.remove(listener)

    def close(self) -> None:
        self.ahead.close()
        with self._lock:
            held, self._held = self._held, [None] * len(self._held)
            wanted = list(self._wanted)
        for each in wanted:
            each.leave()
        for lease in (*held, self._index):
            if lease is not None:
                lease.close()

    # For `Wanted`.

    def begin(self, wanted: Wanted) -> Future[None]:
        """Raises a `ModelcarError`."""
        if (reason := self._lost.get(wanted.blob)) is not None:
            raise StorageError(reason)
        held = self._held[wanted.blob]
        if held is None:
            raise StorageError("the mount is ending")
        offset, length = wanted.offset, wanted.length
        if not held.grid.verifiable:
            offset, length = 0, held.grid.size
        if held.available(offset) < length:
            held.need(offset, length)
            self.ahead.favour(wanted.blob)
        return held.when(offset, length)

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        self._later(seconds, do)

    def settled(self, wanted: Wanted) -> None:
        with self._lock:
            self._wanted.discard(wanted)

    def told(self, *, failed: bool) -> None:
        with self._lock:
            self.failed += failed
            self.answered += not failed

    # Leases.

    def _hold(self, blob: int) -> None:
        self._held.append(None)
        try:
            lease = self._lease(blob, Purpose.MOUNT)
        except WorldError:
            raise
        except ModelcarError as e:
            self._lost[blob] = str(e)
            return
        self._held[blob] = lease
        lease.lost.add_done_callback(lambda error: self._lose(blob, error.result()))
        if lease.grid.size and lease.available(0) < lease.grid.size:
            self._watch(blob, lease)

    def _lease(self, blob: int, purpose: Purpose) -> Lasting:
        return self._leases.lease(self._origin, self.plan.blobs[blob], grid=self._grids[blob], purpose=purpose)

    def _watch(self, blob: int, lease: Lasting) -> None:
        """Tell everybody when all of it is here."""
        lease.when(0, lease.grid.size).add_done_callback(partial(self._came, blob, lease))

    def _came(self, blob: int, lease: Lasting, done: Future[None]) -> None:
        error = done.exception()
        if error is None:
            for listener in list(self._listeners):
                listener.whole(blob, lease.grid.size)
        elif isinstance(error, WorldError) and self._held[blob] is lease and blob not in self._lost:
            self._later(_BACKOFF.longest, lambda: self._watch_again(blob, lease))

    def _watch_again(self, blob: int, lease: Lasting) -> None:
        with suppress(ModelcarError):  # it was closed
            if self._held[blob] is lease:
                self._watch(blob, lease)

    def _lose(self, blob: int, error: ModelcarError) -> None:
        if self._held[blob] is None:
            return
        self._lost[blob] = str(error)
        for listener in list(self._listeners):
            listener.gone(blob, errno.EIO, str(error))


class Wanted:
    """A range that somebody waits for: asked for again while what fails may pass."""

    def __init__(self, mount: ServedMount, blob: int, offset: int, length: int, answered: Answered) -> None:
        self.blob, self.offset, self.length = blob, offset, length
        self._mount, self._answered = mount, answered
        self._began = time.monotonic()
        self._failures = 0
        self._over = False

    def ask(self) -> None:
        if self._over:
            return
        try:
            arrived = self._mount.begin(self)
        except ModelcarError as e:
            self._fail(e)
            return
        arrived.add_done_callback(self._tell)

    def leave(self) -> None:
        """Nobody waits for it any more."""
        self._over = True
        self._mount.settled(self)

    def _tell(self, arrived: Future[None]) -> None:
        error = arrived.exception()
        try:
            here = 0 if error else self._mount.available(self.blob, self.offset)
        except ModelcarError as e:  # the mount is ending
            error = e
        if error is None and here >= self.length:
            self._settle(self.offset + here, 0, "")
            return
        error = error or StorageError("it was taken back")  # since a moment ago
        if not self._may_pass(error):
            self._fail(error)
            return
        self._failures += 1
        self._mount.later(_BACKOFF.after(self._failures), self.ask)

    def _may_pass(self, error: BaseException) -> bool:
        if not isinstance(error, WorldError) or self._mount.lost(self.blob) is not None:
            return False
        patience = _DISK_PATIENCE if isinstance(error, StorageError) else _PATIENCE
        return time.monotonic() - self._began < patience

    def _fail(self, error: BaseException) -> None:
        self._settle(0, errno.EIO, str(error))

    def _settle(self, stop: int, error: int, text: str) -> None:
        if not self._over:
            self.leave()
            self._mount.told(failed=error != 0)
            self._answered(stop, error, text)
