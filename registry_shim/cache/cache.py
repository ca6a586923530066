"""The blobs of a node: leased, fetched once however many want them, resumed, checked, kept and removed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from modelcar.errors import DigestMismatch, InvalidContent, ModelcarError, NotFound, SizeMismatch, StorageError
from modelcar.lazy.grid import Grid
from modelcar.lazy.scheduler import Scheduler
from modelcar.lazy.sources import Router
from modelcar.lazy.transfer import State, Transfer
from modelcar.oci import Descriptor, Digest
from modelcar.store.layout import OciLayout
from registry_shim.cache.check import check_file
from registry_shim.cache.events import UNHEARD, CacheEvents
from registry_shim.cache.folders import PartialFolders
from registry_shim.cache.holding import Arriving, Holding, Whole
from registry_shim.cache.lease import Lease, Purpose
from registry_shim.cache.loan import Loan
from registry_shim.cache.origins import Origins
from registry_shim.cache.settings import CacheSettings
from registry_shim.cache.status import BlobState, BlobStatus
from registry_shim.cache.wrong import WrongContent
from registry_shim.origin import Origin

__all__ = ["Cache", "RouterFor"]

_LOG = logging.getLogger(__name__)
_STRIPES: Final = 64
_STATES: Final = {
    State.RUNNING: BlobState.ARRIVING,
    State.DONE: BlobState.WHOLE,
    State.STOPPED: BlobState.PARKED,
    State.FAILED: BlobState.FAILED,
}


class RouterFor(Protocol):
    def __call__(self, descriptor: Descriptor, origins: Origins) -> Router:
        """Who may have a blob. `origins.known()` changes while it arrives: ask it at every fetch."""


@dataclass(slots=True, eq=False)
class _Entry:
    """A holding, and for what it is used by whom. `still`: no thread writes to it, so that it may be closed."""

    holding: Holding
    loans: dict[Loan, Purpose] = field(default_factory=dict)
    timer: threading.Timer | None = None
    still: bool = False
    closed: bool = False


class Cache:
    """Safe to use from several threads; its methods wait for the disk, so an event loop calls them in a thread. Those
    of leases do not.

    Args:
        root: the node's folder; partial blobs lie in `root/partial`.
        layout: whole blobs, on the same file system.
        scheduler: fetches; it is not closed with the cache.
        router_for: who may have a blob.
        make_room: called with the bytes that a blob still needs before it begins to arrive; raises `StorageError`
            if there is no room for them.
    """

    def __init__(
        self,
        root: Path,
        layout: OciLayout,
        scheduler: Scheduler,
        router_for: RouterFor,
        settings: CacheSettings | None = None,
        *,
        make_room: Callable[[int], None] = lambda _: None,
        events: CacheEvents = UNHEARD,
    ) -> None:
        self.layout = layout
        self.settings = settings or CacheSettings()
        self._scheduler, self._router_for, self._make_room, self._events = scheduler, router_for, make_room, events
        self._folders = PartialFolders(root / "partial")
        self._lock = threading.Lock()  # guards the tables; never held while the disk or a transfer is waited for
        self._stripes = [threading.RLock() for _ in range(_STRIPES)]  # held while a blob is begun, ended or removed
        self._whole: dict[Digest, _Entry] = {}
        self._arriving: dict[tuple[Digest, str], _Entry] = {}
        self._gone: set[_Entry] = set()  # committed, removed or revoked, and still in use
        self._revoked: dict[Digest, ModelcarError] = {}
        self._sound: dict[Digest, tuple[int, int, int]] = {}
        self._wrong = WrongContent(self.settings.mismatch_pause)
        self._closed = False
        self._committer = ThreadPoolExecutor(2, "cache-commit")

    def lease(
        self, origin: Origin, descriptor: Descriptor, *, grid: Grid | None = None, purpose: Purpose = Purpose.PULL
    ) -> Lease:
        """Use a blob, under a chunk table if there is one. What is missing of it begins, or goes on, to arrive.

        Raises:
            InvalidContent: its content was found to be wrong lately, or it has another size; with a grid, that one
                does not describe it.
            StorageError: there is no room, or the disk fails.
            ModelcarError: what it was revoked with.
        """
        grid = grid or Grid.plain(descriptor.digest, descriptor.size)
        if (grid.digest, grid.size) != (descriptor.digest, descriptor.size):
            raise SizeMismatch(f"the chunk table is not one of {descriptor.digest} with {descriptor.size} bytes")
        loan = Loan(grid)
        with self._stripe(descriptor.digest):
            self._check(grid)
            entry = self._lend_whole(loan, purpose)
            self._events.leased(purpose, whole=entry is not None)
            if entry is None:
                entry = self._lend_arriving(loan, purpose, origin, descriptor)
            return loan.begin(entry.holding, lambda loan: self._give_back(entry, loan))

    def contains(self, digest: Digest) -> bool:
        """Whether the whole blob is here and may be served."""
        return digest not in self._revoked and digest in self.layout

    def find(self, digest: Digest, grid: str) -> Grid | None:
        """The grid of that name, if some of the blob is here under it."""
        with self._lock:
            entry = self._arriving.get((digest, grid))
        return entry.holding.grid if entry is not None else self._folders.grid(digest, grid)

    def grids(self, digest: Digest) -> list[Grid]:
        """The grids under which some of a blob is here, that is not whole."""
        found = (self.find(digest, name) for name in self._folders.names(digest))
        return [grid for grid in found if grid is not None]

    def chunks(self, digest: Digest, grid: str) -> bytes | None:
        """One byte a chunk, 1 if it is here, of a blob that arrives; `None` if none does."""
        with self._lock:
            entry = self._arriving.get((digest, grid))
        return entry.holding.partial.map() if entry is not None and isinstance(entry.holding, Arriving) else None

    def status(self) -> list[BlobStatus]:
        """What is in use or on its way."""
        with self._lock:
            entries = [(e, len(e.loans)) for e in (*self._arriving.values(), *self._whole.values())]
        return [_status(entry.holding, loans) for entry, loans in entries]

    def leased(self) -> set[Digest]:
        """What must not be removed: somebody uses it, or it is on its way."""
        with self._lock:
            used = [*self._whole.values(), *self._gone, *(e for e in self._arriving.values() if e.loans or _runs(e))]
        return {entry.holding.grid.digest for entry in used}

    def remove(self, digest: Digest) -> None:
        """Delete a blob, and what is here of it. A transfer of which nobody waits is ended.

        Raises:
            NotFound: nothing of it is here.
            StorageError: it is in use, or cannot be removed.
        """
        with self._stripe(digest):
            with self._lock:
                entries = self._entries(digest)
                if any(e.loans for e in (*entries, *self._gone) if e.holding.grid.digest == digest):
                    raise StorageError(f"{digest} is in use", hint="try again when nobody pulls or mounts it")
                self._forget(entries)
            known = bool(self._folders.names(digest)) or digest in self.layout
            self._end(entries, StorageError(f"{digest} was removed"))
            self._delete(digest)
            if not known:
                raise NotFound(f"{digest} is not in {self.layout.root}")

    def revoke(self, digest: Digest, error: ModelcarError) -> None:
        """Cut off whoever reads a blob, delete it, and let nobody have it again before `allow`, or a restart: whoever
        says so remembers it. Raises `StorageError` if the disk does not let go of it; it is not served any more."""
        with self._stripe(digest):
            with self._lock:
                self._revoked[digest] = error
                entries = self._entries(digest)
                self._forget(entries)
                gone = [e for e in self._gone if e.holding.grid.digest == digest]
            self._end([*entries, *gone], error)
            self._delete(digest)

    def allow(self, digest: Digest) -> None:
        """Take a revocation back."""
        self._revoked.pop(digest, None)

    def quarantine(self, digest: Digest) -> None:
        """The disk has damaged a whole blob: whoever reads it gets an error, and the next one who asks fetches it
        anew. Raises `StorageError` if it cannot be removed."""
        with self._stripe(digest):
            with self._lock:
                entry = self._whole.get(digest)
                entries = [entry] if entry is not None else []
                self._forget(entries)
            size = self.layout.path(digest).stat().st_size if digest in self.layout else 0
            self._end(entries, StorageError(f"{digest} is damaged on disk", hint="pull it again: it is fetched anew"))
            with suppress(NotFound):
                self.layout.delete(digest)
        self._events.quarantined(size)

    def park(self) -> None:
        """End all transfers, keeping what they have, before this process ends. Whoever waits is told."""
        with self._lock:
            self._closed = True
            entries = list(self._arriving.values())
        for entry in entries:
            if isinstance(entry.holding, Arriving) and not entry.holding.verified.done():
                self._end([entry], StorageError("this node is being restarted", hint="try again in a moment"))

    def close(self) -> None:
        """Park, and finish what only has to be written. No lease may be used any more."""
        self.park()
        self._committer.shutdown()
        with self._lock:
            entries = [*self._arriving.values(), *self._whole.values(), *self._gone]
            self._arriving, self._whole, self._gone = {}, {}, set()
            for entry in entries:
                entry.loans.clear()
        for entry in entries:
            self._close_unused(entry)

    # Beginning.

    def _stripe(self, digest: Digest) -> threading.RLock:
        return self._stripes[hash(digest) % _STRIPES]

    def _check(self, grid: Grid) -> None:
        if self._closed:
            raise StorageError("this node is being restarted", hint="try again in a moment")
        if error := self._revoked.get(grid.digest):
            raise error
        if grid.digest not in self.layout:
            self._wrong.check(grid)

    def _lend_whole(self, loan: Loan, purpose: Purpose) -> _Entry | None:
        digest = loan.grid.digest
        with self._lock:
            entry = self._whole.get(digest)
            if entry is not None and entry.holding.grid.size == loan.grid.size:
                entry.loans[loan] = purpose
                return entry
        if digest not in self.layout:
            return None
        try:
            holding = Whole(self.layout.path(digest), loan.grid)
        except SizeMismatch:
            self._check_whole(digest)
            return None
        entry = _Entry(holding, {loan: purpose}, still=True)
        with self._lock:
            self._whole[digest] = entry
        return entry

    def _check_whole(self, digest: Digest) -> None:
        """Its file has not the size that was promised. Raises `SizeMismatch` if it is right all the same; else it is
        only half a file, and gone now."""
        path = self.layout.path(digest)
        stamp = path.stat()
        known = (stamp.st_size, stamp.st_mtime_ns, stamp.st_ino)
        if self._sound.get(digest) != known:  # hashed once, not as often as somebody likes to lie about its size
            try:
                check_file(path, digest)
            except (DigestMismatch, StorageError):
                _LOG.error("%s is damaged on disk and was removed; it is fetched anew", digest)
                self.quarantine(digest)
                return
            self._sound[digest] = known
        raise SizeMismatch(f"{digest} has {stamp.st_size} bytes, and not the size that was promised")

    def _lend_arriving(self, loan: Loan, purpose: Purpose, origin: Origin, descriptor: Descriptor) -> _Entry:
        key = (loan.grid.digest, loan.grid.name)
        with self._lock:
            entry = self._arriving.get(key)
            if entry is not None:
                entry.loans[loan] = purpose
        if entry is None:
            entry = self._begin(loan.grid, origin, descriptor)
        with self._lock:
            entry.loans[loan] = purpose
            self._arriving[key] = entry
            priority = min(entry.loans.values())
            if entry.timer is not None:
                entry.timer.cancel()
        holding = entry.holding
        if isinstance(holding, Arriving):
            holding.origins.add(origin)
            holding.transfer.priority = priority
            holding.transfer.start()
            if holding.verified.done():  # it came, and could not be moved into the store: perhaps now
                self._submit(lambda: self._settle(entry, None))
        return entry

    def _begin(self, grid: Grid, origin: Origin, descriptor: Descriptor) -> _Entry:
        blob = self._folders.take(grid)
        try:
            self._make_room(blob.size - blob.present)
        except BaseException:
            blob.close() if blob.present else blob.remove()
            raise
        origins = Origins()
        origins.add(origin)
        holding = Arriving(blob, origins)
        entry = _Entry(holding)
        router = self._router_for(descriptor, origins)
        holding.transfer = Transfer(
            blob, router, self._scheduler, finished=lambda error: self._finished(entry, holding, error)
        )
        return entry

    # Ending.

    def _give_back(self, entry: _Entry, loan: Loan) -> None:
        """Does not wait for anything: event loops close leases."""
        holding = entry.holding
        holding.leave(loan)
        with self._lock:
            entry.loans.pop(loan, None)
            if entry.loans:
                if isinstance(holding, Arriving):
                    holding.transfer.priority = min(entry.loans.values())
                return
            if self._arriving.get(_key(entry)) is entry:
                self._abandoned(entry)
                return
            self._gone.discard(entry)
            if self._whole.get(holding.grid.digest) is entry:
                del self._whole[holding.grid.digest]
        self._close_unused(entry)

    def _abandoned(self, entry: _Entry) -> None:
        """Nobody uses a blob that arrives."""
        if not _runs(entry):
            self._submit(lambda: self._put_away(entry))
        elif self.settings.linger is not None:
            entry.timer = threading.Timer(self.settings.linger, self._submit, [lambda: self._put_away(entry)])
            entry.timer.daemon = True
            entry.timer.start()

    def _finished(self, entry: _Entry, holding: Arriving, error: ModelcarError | None) -> None:
        """A transfer has ended, well or not; in one of its threads, which must not wait for it."""
        if error is None:
            with suppress(InvalidStateError):
                holding.verified.set_result(None)
        self._submit(lambda: self._settle(entry, error))

    def _settle(self, entry: _Entry, error: ModelcarError | None) -> None:
        holding = entry.holding
        with self._stripe(holding.grid.digest):
            if not isinstance(holding, Arriving) or self._arriving.get(_key(entry)) is not entry or holding.error:
                return
            if error is None:
                self._commit(entry, holding)
            elif isinstance(error, InvalidContent):
                self._wrong.add(holding.grid, error)
                self._events.refused()
                with self._lock:
                    self._forget([entry])
                self._end([entry], error)
                holding.partial.discard()
            else:
                self._put_away(entry)

    def _commit(self, entry: _Entry, holding: Arriving) -> None:
        holding.transfer.stop()
        if holding.grid.digest not in self.layout:
            try:
                self.layout.adopt(holding.partial.folder / "data", holding.grid.digest)
            except StorageError as e:
                _LOG.warning("%s has arrived and cannot be kept: %s", holding.grid.digest, e)
                return
        holding.partial.discard()
        self._wrong.forget(holding.grid.digest)
        self._events.committed(holding.grid.size)
        with self._lock:
            self._forget([entry])
            entry.still = True
        self._close_unused(entry)

    def _put_away(self, entry: _Entry) -> None:
        """Close a blob that arrives, or not any more, while nobody uses it."""
        holding = entry.holding
        with self._stripe(holding.grid.digest):
            with self._lock:
                if entry.loans or self._arriving.get(_key(entry)) is not entry or not isinstance(holding, Arriving):
                    return
                if holding.verified.done():
                    return
                self._forget([entry])
            holding.transfer.stop()
            entry.still = True
            self._close_unused(entry)

    def _entries(self, digest: Digest) -> list[_Entry]:
        arriving = [e for (d, _), e in self._arriving.items() if d == digest]
        return [*arriving, *([self._whole[digest]] if digest in self._whole else [])]

    def _forget(self, entries: list[_Entry]) -> None:
        """Take them out of the tables; those in use stay open for their leases."""
        for entry in entries:
            if self._arriving.get(_key(entry)) is entry:
                del self._arriving[_key(entry)]
            elif self._whole.get(entry.holding.grid.digest) is entry:
                del self._whole[entry.holding.grid.digest]
            if entry.loans:
                self._gone.add(entry)

    def _end(self, entries: list[_Entry], error: ModelcarError) -> None:
        """Nothing more is had from them."""
        for entry in entries:
            entry.holding.condemn(error)
            if isinstance(entry.holding, Arriving):
                entry.holding.transfer.stop(error)
            entry.still = True
            self._close_unused(entry)

    def _close_unused(self, entry: _Entry) -> None:
        with self._lock:
            if entry.loans or entry.closed or not entry.still:
                return
            entry.closed = True
        entry.holding.close()

    def _delete(self, digest: Digest) -> None:
        with suppress(NotFound):
            self.layout.delete(digest)
        self._folders.remove(digest)

    def _submit(self, job: Callable[[], None]) -> None:
        def run() -> None:
            try:
                job()
            except Exception:
                _LOG.exception("the cache could not settle a blob")

        with suppress(RuntimeError):  # we are closing: the next process does it
            self._committer.submit(run)


def _key(entry: _Entry) -> tuple[Digest, str]:
    return entry.holding.grid.digest, entry.holding.grid.name


def _runs(entry: _Entry) -> bool:
    return isinstance(entry.holding, Arriving) and entry.holding.transfer.state in (State.RUNNING, State.DONE)


def _status(holding: Holding, loans: int) -> BlobStatus:
    grid = holding.grid
    if not isinstance(holding, Arriving):
        return BlobStatus(
            digest=grid.digest, grid=grid.name, size=grid.size, present=grid.size, state=BlobState.WHOLE, leases=loans
        )
    transfer = holding.transfer.status()
    return BlobStatus(
        digest=grid.digest,
        grid=grid.name,
        size=grid.size,
        present=holding.partial.present,
        state=_STATES[transfer.state],
        leases=loans,
        chunks=holding.partial.map(),
        rate=transfer.rate,
        streams=transfer.streams,
        waiting=transfer.waiting,
        purpose=transfer.priority,
        sources=transfer.sources,
        origins=tuple(o.name for o in holding.origins.known()),
        error=str(transfer.error) if transfer.error else None,
    )
