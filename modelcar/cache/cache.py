"""The blobs of a node: leased, fetched once however many want them, resumed, checked, kept and removed."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from modelcar.cache.check import check_file
from modelcar.cache.entries import Entries, Entry
from modelcar.cache.events import UNHEARD, CacheEvents
from modelcar.cache.folders import PartialFolders
from modelcar.cache.holding import Arriving, Whole
from modelcar.cache.lease import Lasting, Lease, Purpose
from modelcar.cache.loan import Loan
from modelcar.cache.origin import Origin
from modelcar.cache.origins import Origins
from modelcar.cache.settings import CacheSettings
from modelcar.cache.status import BlobStatus, describe
from modelcar.cache.wrong_content import WrongContent
from modelcar.errors import DigestMismatch, InvalidContent, ModelcarError, NotFound, SizeMismatch, StorageError
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.scheduler import Scheduler
from modelcar.lazy.sources import Router
from modelcar.lazy.transfer import Transfer
from modelcar.oci import Descriptor, Digest, media_types
from modelcar.store.layout import OciLayout

__all__ = ["Cache", "RouterFor"]

_LOG = logging.getLogger(__name__)
_STRIPES: Final = 64
_REVISIT: Final = 60.0  # seconds that what only peers asked for stays open after the last of them


class RouterFor(Protocol):
    def __call__(self, descriptor: Descriptor, origins: Origins, /) -> Router:
        """Who may have a blob. `origins.known()` changes while it arrives: ask it at every fetch."""


class Cache:
    """Safe to use from several threads; its methods wait for the disk, so an event loop calls them in a thread. Those
    of leases do not.

    Args:
        root: the node's folder; partial blobs lie in `root/partial`.
        layout: whole blobs, on the same file system.
        scheduler: fetches; it is not closed with the cache.
        router_for: who may have a blob.
        make_room: called with a blob and its size before it begins or goes on to arrive; raises `StorageError` if there
            is no room. It may call `evict`, and nothing else of the cache.
    """

    def __init__(
        self,
        root: Path,
        layout: OciLayout,
        scheduler: Scheduler,
        router_for: RouterFor,
        settings: CacheSettings | None = None,
        *,
        make_room: Callable[[Digest, int], None] = lambda _digest, _size: None,
        events: CacheEvents = UNHEARD,
    ) -> None:
        self.layout = layout
        self.settings = settings or CacheSettings()
        self._scheduler, self._router_for, self._make_room, self._events = scheduler, router_for, make_room, events
        self._folders = PartialFolders(root / "partial")
        self._stripes = [threading.RLock() for _ in range(_STRIPES)]  # held while a blob is begun, ended or removed
        self._entries = Entries()
        self._revoked: dict[Digest, ModelcarError] = {}
        self._sound: dict[Digest, tuple[int, int, int]] = {}
        self._wrong = WrongContent(self.settings.mismatch_pause)
        self._doubted: Callable[[Digest], None] = lambda _: None
        self._closed = False
        self._committer = ThreadPoolExecutor(2, "cache-commit")
        for digest in self._folders.digests():
            if digest in layout:  # a process was killed before it had tidied up
                self._tidy(digest)

    # Using blobs.

    def lease(
        self, origin: Origin, descriptor: Descriptor, *, grid: Grid | None = None, purpose: Purpose = Purpose.PULL
    ) -> Lasting:
        """Use a blob, under a chunk table if there is one. What is missing of it begins, or goes on, to arrive; for a
        peer or a mount only what it `need`s.

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
            self._clear_wrong(grid)
            self._check(grid)
            entry = self._lend_whole(loan, purpose)
            self._events.leased(purpose, whole=entry is not None)
            if entry is not None and purpose is Purpose.PULL:
                self._doubted(descriptor.digest)
            if entry is None:
                entry = self._lend_arriving(loan, purpose, origin)
            return loan.begin(entry.holding, lambda loan: self._give_back(entry, loan))

    def peek(self, digest: Digest, grid: str) -> Lease | None:
        """Use what is here of a blob, whole or under the grid of this name; nothing is fetched for it. `None` if
        nothing is here, or it was revoked."""
        with self._stripe(digest):
            if self._closed or digest in self._revoked:
                return None
            known = self._known(digest, grid)
            if known is None:
                return None
            loan = Loan(known, fetches=False)
            entry = self._lend_whole(loan, Purpose.PEER) or self._entries.borrow_arriving(loan, Purpose.PEER)
            if entry is None:
                partial = self._folders.find(digest, grid)
                if partial is None:
                    return None
                entry = self._entries.add_arriving(self._entry(partial, Origins()), loan, Purpose.PEER)
            return loan.begin(entry.holding, lambda loan: self._give_back(entry, loan))

    def on_whole(self, doubted: Callable[[Digest], None]) -> None:
        """`doubted` is told of every whole blob that is leased for a pull: pulled again, it may have been refused."""
        self._doubted = doubted

    def contains(self, digest: Digest) -> bool:
        """Whether the whole blob is here and may be served."""
        return digest not in self._revoked and digest in self.layout

    def find(self, digest: Digest, grid: str) -> Grid | None:
        """The grid of that name, if some of the blob is here under it and not the whole."""
        holding = self._entries.arriving(digest, grid)
        return holding.grid if holding is not None else self._folders.grid(digest, grid)

    def grids(self, digest: Digest) -> list[Grid]:
        """The grids under which some of a blob is here, that is not whole."""
        found = (self.find(digest, name) for name in self._folders.names(digest))
        return [grid for grid in found if grid is not None]

    def chunks(self, digest: Digest, grid: str) -> bytes | None:
        """One byte a chunk, 1 if it is here, of a blob that arrives; `None` if none does. Does not touch the disk."""
        holding = self._entries.arriving(digest, grid)
        return holding.partial.map() if holding is not None else None

    def status(self) -> list[BlobStatus]:
        """What is in use or on its way."""
        return [describe(entry.holding, loans) for entry, loans in self._entries.current()]

    def leased(self) -> set[Digest]:
        """What must not be removed: somebody uses it, or it is on its way."""
        return self._entries.in_use()

    # Taking blobs away.

    def remove(self, digest: Digest) -> None:
        """Delete a blob, and what is here of it. A transfer for which nobody waits is ended.

        Raises:
            NotFound: nothing of it is here.
            StorageError: it is in use, or cannot be removed.
        """
        with self._stripe(digest):
            known = bool(self._folders.names(digest)) or digest in self.layout
            if not self._take_away(digest, unless=lambda entry: bool(entry.loans)):
                raise StorageError(f"{digest} is in use", hint="try again when nobody pulls or mounts it")
            if not known:
                raise NotFound(f"{digest} is not in {self.layout.root}")

    def evict(self, digest: Digest) -> bool:
        """As `remove`, for whoever needs room: returns False, without waiting for anybody, if the blob is in use or on
        its way, and True once nothing of it is here. Raises `StorageError` if it cannot be removed."""
        stripe = self._stripe(digest)
        if not stripe.acquire(blocking=False):
            return False
        try:
            return self._take_away(digest, unless=lambda entry: bool(entry.loans) or entry.runs)
        finally:
            stripe.release()

    def revoke(self, digest: Digest, error: ModelcarError) -> None:
        """Cut off whoever reads a blob, delete it, and let nobody have it again before `allow`, or a restart: whoever
        says so remembers it. Raises `StorageError` if the disk does not let go of it; it is not served any more."""
        self._revoked[digest] = error
        for entry in self._entries.of(digest):
            entry.holding.condemn(error)
        with self._stripe(digest):
            entries = self._entries.of(digest)
            self._entries.forget(entries)
            self._end(entries, error)
            self._delete(digest)

    def allow(self, digest: Digest) -> None:
        """Take a revocation back."""
        self._revoked.pop(digest, None)

    def quarantine(self, digest: Digest) -> None:
        """The disk has damaged a whole blob: whoever reads it gets an error, and the next one who asks fetches it
        anew. Raises `StorageError` if it cannot be removed."""
        with self._stripe(digest):
            entries = self._entries.whole(digest)
            self._entries.forget(entries)
            size = self.layout.path(digest).stat().st_size if digest in self.layout else 0
            self._end(entries, StorageError(f"{digest} is damaged on disk", hint="pull it again: it is fetched anew"))
            if self.layout.path(digest).is_dir():
                shutil.rmtree(self.layout.path(digest), ignore_errors=True)
            with suppress(NotFound):
                self.layout.delete(digest)
        self._events.quarantined(size)

    # Ending.

    def park(self) -> None:
        """End all transfers, keeping what they have, before this process ends. Whoever waits is told."""
        self._closed = True
        for entry in self._entries.all():  # all of them first, for some take a while to end
            if isinstance(entry.holding, Arriving) and not entry.holding.verified.done():
                entry.holding.transfer.cancel()
        for entry in self._entries.all():
            if isinstance(entry.holding, Arriving) and not entry.holding.verified.done():
                self._end([entry], StorageError("this node is being restarted", hint="try again in a moment"))

    def close(self) -> None:
        """Park, and finish what only has to be written. No lease may be used any more."""
        self.park()
        self._committer.shutdown()
        for entry in self._entries.all():
            entry.cancel_timer()
            entry.loans.clear()
            self._entries.close_unused(entry)

    # How a lease begins; the blob's stripe is held.

    def _stripe(self, digest: Digest) -> threading.RLock:
        return self._stripes[hash(digest) % _STRIPES]

    def _check(self, grid: Grid) -> None:
        if self._closed:
            raise StorageError("this node is being restarted", hint="try again in a moment")
        if error := self._revoked.get(grid.digest):
            raise error
        if grid.digest not in self.layout:
            self._wrong.check(grid)

    def _clear_wrong(self, grid: Grid) -> None:
        """Whoever was told that what came is wrong, and asks again at once, does not get the same."""
        for entry in self._entries.of(grid.digest):
            if isinstance(entry.holding, Arriving) and isinstance(entry.holding.error, InvalidContent):
                self._settle(entry, entry.holding.error)

    def _lend_whole(self, loan: Loan, purpose: Purpose) -> Entry | None:
        digest = loan.grid.digest
        entry = self._entries.borrow_whole(loan, purpose)
        if entry is not None or digest not in self.layout:
            return entry
        try:
            return self._entries.add_whole(Whole(self.layout.path(digest), loan.grid), loan, purpose)
        except SizeMismatch:
            self._check_whole(digest)
            return None

    def _check_whole(self, digest: Digest) -> None:
        """Its file has not the size that was promised. Raises `SizeMismatch` if it is right all the same; else it is
        only half a file, and gone now."""
        path = self.layout.path(digest)
        stamp = path.stat()
        known = (stamp.st_size, stamp.st_mtime_ns, stamp.st_ino)
        if self._sound.get(digest) != known:  # hashed once, not as often as somebody likes to lie about its size
            try:
                check_file(path, digest)
            except DigestMismatch:
                _LOG.error("%s is damaged on disk and was removed; it is fetched anew", digest)
                self.quarantine(digest)
                return
            self._sound[digest] = known
        raise SizeMismatch(f"{digest} has {stamp.st_size} bytes, and not the size that was promised")

    def _known(self, digest: Digest, grid: str) -> Grid | None:
        """A grid to peek through: any will do for a whole blob."""
        if digest in self.layout:
            return Grid.plain(digest, self.layout.size(digest))
        return self.find(digest, grid)

    def _lend_arriving(self, loan: Loan, purpose: Purpose, origin: Origin) -> Entry:
        known = self._entries.arriving(loan.grid.digest, loan.grid.name)
        if known is not None and known.grid.size != loan.grid.size:
            raise SizeMismatch(f"{loan.grid.digest} arrives as {known.grid.size} bytes, not {loan.grid.size}")
        entry = self._entries.borrow_arriving(loan, purpose)
        if entry is None:
            entry = self._entries.add_arriving(self._begin(loan.grid, origin), loan, purpose)
        holding = entry.holding
        if isinstance(holding, Arriving):
            if holding.origins.add(origin):
                holding.transfer.renew()
            holding.transfer.start()
            if holding.verified.done():  # it came, and could not be moved into the store: perhaps now
                self._submit(lambda: self._settle(entry, None))
        return entry

    def _begin(self, grid: Grid, origin: Origin) -> Entry:
        partial = self._folders.take(grid)
        try:
            self._make_room(grid.digest, grid.size)
        except BaseException:
            partial.close()
            if not partial.present:
                self._folders.discard(grid.digest, grid.name)
            raise
        origins = Origins()
        origins.add(origin)
        return self._entry(partial, origins)

    def _entry(self, partial: PartialBlob, origins: Origins) -> Entry:
        holding = Arriving(partial, origins)
        entry = Entry(holding)
        blob = Descriptor(media_type=media_types.LAYER_TAR, digest=partial.grid.digest, size=partial.size)
        router = self._router_for(blob, origins)
        holding.transfer = Transfer(
            partial, router, self._scheduler, finished=lambda error: self._finished(entry, holding, error)
        )
        holding.transfer.distrust(self._wrong.suspects(partial.grid))
        return entry

    # How a lease, or a transfer, ends.

    def _give_back(self, entry: Entry, loan: Loan) -> None:
        """Does not wait for anything: event loops close leases."""
        entry.holding.leave(loan)
        if not self._entries.give_back(entry, loan):
            return
        wait = self.settings.linger if entry.wanted else _REVISIT
        if wait is not None and isinstance(entry.holding, Arriving):
            entry.timer = threading.Timer(wait, self._submit, [lambda: self._put_away(entry)])
            entry.timer.daemon = True
            entry.timer.start()

    def _finished(self, entry: Entry, holding: Arriving, error: ModelcarError | None) -> None:
        """A transfer has ended, well or not; in one of its threads, which must not wait for it."""
        if error is None:
            with suppress(InvalidStateError):
                holding.verified.set_result(None)
        elif isinstance(error, InvalidContent):
            error = self._wrong.add(holding.grid, error, holding.transfer.suspects())
            _LOG.warning("%s", error)
            holding.condemn(error)  # at once: not one byte more of it
        self._submit(lambda: self._settle(entry, error))

    def _settle(self, entry: Entry, error: ModelcarError | None) -> None:
        holding = entry.holding
        with self._stripe(entry.digest):
            if not isinstance(holding, Arriving) or not self._entries.is_arriving(entry):
                return
            if error is None:
                self._commit(entry, holding)
            elif isinstance(error, InvalidContent):
                self._events.refused()
                self._entries.forget([entry])
                self._end([entry], error)
                self._folders.discard(entry.digest, holding.grid.name)
            else:
                self._put_away(entry)

    def _commit(self, entry: Entry, holding: Arriving) -> None:
        if holding.error:  # it was revoked meanwhile
            return
        holding.transfer.stop()
        if entry.digest not in self.layout:
            try:
                self.layout.adopt(holding.partial.folder / "data", entry.digest)
            except StorageError as e:
                _LOG.warning("%s has arrived and cannot be kept: %s", entry.digest, e)
                return
        self._entries.forget([entry])
        self._tidy(entry.digest)
        self._wrong.forget(entry.digest)
        self._events.committed(holding.grid.size)
        entry.still = True
        self._entries.close_unused(entry)

    def _put_away(self, entry: Entry) -> None:
        """Close a blob that arrives, or not any more, while nobody uses it. What is here of it stays."""
        holding = entry.holding
        with self._stripe(entry.digest):
            if not self._entries.is_arriving(entry) or not isinstance(holding, Arriving) or holding.verified.done():
                return
            if self._entries.forget([entry], unless=lambda entry: bool(entry.loans)):
                holding.transfer.stop()
                entry.still = True
                self._entries.close_unused(entry)

    def _take_away(self, digest: Digest, *, unless: Callable[[Entry], bool]) -> bool:
        entries = self._entries.of(digest)
        if not self._entries.forget(entries, unless=unless):
            return False
        self._end(entries, StorageError(f"{digest} was removed"))
        self._delete(digest)
        return True

    def _end(self, entries: list[Entry], error: ModelcarError) -> None:
        """Nothing more is had from them."""
        for entry in entries:
            entry.holding.condemn(error)
            if isinstance(entry.holding, Arriving):
                entry.holding.transfer.stop(error)
            entry.still = True
            self._entries.close_unused(entry)

    def _delete(self, digest: Digest) -> None:
        with suppress(NotFound):
            self.layout.delete(digest)
        self._folders.remove(digest)

    def _tidy(self, digest: Digest) -> None:
        """The blob is in the store: what arrived of it under tables that nobody uses any more is not needed."""
        for name in self._folders.names(digest):
            if self._entries.arriving(digest, name) is None:
                self._folders.discard(digest, name)

    def _submit(self, job: Callable[[], None]) -> None:
        def run() -> None:
            try:
                job()
            except Exception:
                _LOG.exception("the cache could not settle a blob")

        with suppress(RuntimeError):  # we are closing: the next process does it
            self._committer.submit(run)
