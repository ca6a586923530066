"""The host of mounts: who has their bytes, or gets them, for doors that other processes open to it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from modelcar.cache.indexes import Indexes
from modelcar.errors import ModelcarError, NotFound
from modelcar.lazy.grid import Grid
from modelcar.mounts.ahead import Ranges
from modelcar.mounts.figures import MountFigures, figures_of
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.progress import MountStatus, Speed, status_of
from modelcar.mounts.ranked import RankedReading
from modelcar.mounts.reading import CacheReading
from modelcar.mounts.records import MountRecord, Records
from modelcar.mounts.served import LastingLeases, ServedMount
from modelcar.mounts.start_times import start_time
from modelcar.mounts.timers import Timers
from modelcar.oci import Digest

__all__ = ["MountHost"]

_LOG = logging.getLogger(__name__)
_TICK: Final = 0.5  # seconds
_PATIENCE, _AT_START = 300.0, 5.0  # seconds for an index; at the start it is here already, if all is well
_GRACE: Final = 60.0  # seconds that a mount may be without anybody before it counts as over


@dataclass(slots=True, kw_only=True)
class _Entry:
    """`serving` is held while leases are taken, which may wait for a network; the host's lock guards all else."""

    record: MountRecord
    plan: MountPlan
    last_sign: float
    serving: threading.Lock = field(default_factory=threading.Lock)
    speed: Speed = field(default_factory=Speed)
    served: ServedMount | None = None
    trouble: str | None = None
    over: bool = False
    known: bool = False
    """Whether it was served before, by us or by another process."""


class MountHost:
    """Safe to use from several threads. Close it before the cache.

    A mount is over when `remove` says so, or when neither its supervisor nor a door to it is there any more. Until then
    what it shows is leased, also by the next process that is host over `root`.
    """

    def __init__(
        self,
        root: Path,
        leases: LastingLeases,
        *,
        indexes: Indexes | None = None,
        grace: float = _GRACE,
        orphaned: Callable[[MountRecord], None] = lambda _: None,
    ) -> None:
        """Goes on with the mounts that are recorded under `root`. One host at a time may do that.

        `indexes`: what others over the same cache have read of model indexes.
        `orphaned` is told of a mount of which every process is gone, as soon as that is seen, again and again until it
        is over: what the kernel shows there is worth nothing.
        """
        self._leases, self._grace, self._orphaned = leases, grace, orphaned
        self._records = Records(root)
        self._indexes = indexes or Indexes(leases)
        self._lock = threading.RLock()  # never while anything waits for a network
        self._entries: dict[str, _Entry] = {}
        self._timers = Timers("mounts")
        now = time.monotonic()
        for record, plan in self._records.all():
            self._entries[record.id] = _Entry(record=record, plan=plan, last_sign=now, known=True)
        for entry in self._entries.values():
            with suppress(ModelcarError):  # told by `attach`, and tried again
                self._serve(entry, patience=_AT_START)
        self._timers.later(0, self._tick)

    def reading(self, record: MountRecord) -> CacheReading:
        """What `plan_image` needs of an image."""
        return CacheReading(self._leases, self._indexes, record.origin)

    def add(self, record: MountRecord, plan: MountPlan) -> Path:
        """Begin to serve a mount, and to fetch what it shows; returns the file that has the plan. Doing it again
        changes nothing.

        Raises:
            InvalidContent: the model index is none.
            UsageError: there are no such ranks.
            WorldError: the index cannot be had, or there is no room.
        """
        with self._lock:
            entry = self._entries.get(record.id)
            known = entry is not None
            if entry is None:
                self._records.put(record, plan)
                entry = _Entry(record=record, plan=plan, last_sign=time.monotonic())
                self._entries[record.id] = entry
        try:
            self._serve(entry)
        except BaseException:
            if not known:
                self.remove(record.id)
            raise
        self._timers.later(0, self._step)
        return self._records.plan_path(record.id)

    def started(self, mount: str, supervisor: int, front: str) -> None:
        """The process `supervisor` holds the mount now. Raises `NotFound`."""
        began = start_time(supervisor)
        with self._lock:
            entry = self._entry(mount)
            known = (supervisor, began) if began is not None else None
            entry.record = replace(entry.record, supervisor=known, front=front)
            self._records.put(entry.record)

    def remove(self, mount: str) -> None:
        """A mount is over; does nothing if there is none."""
        with self._lock:
            entry = self._entries.pop(mount, None)
            self._records.remove(mount)
            if entry is None:
                return
            entry.over, served = True, entry.served
        if served is not None:
            served.close()

    def mounts(self) -> dict[str, MountRecord]:
        """All that are not over."""
        with self._lock:
            return {name: entry.record for name, entry in self._entries.items()}

    def attach(self, mount: str) -> ServedMount:
        """The mount, for a door to it. Raises `NotFound`, or why it cannot be served at the moment."""
        with self._lock:
            entry = self._entry(mount)
            entry.last_sign = time.monotonic()
        return self._serve(entry)

    def status(self, mount: str) -> MountStatus:
        """Raises `NotFound`."""
        with self._lock:
            entry = self._entry(mount)
            return status_of(entry.record, entry.plan, entry.served, entry.speed, entry.trouble)

    def figures(self) -> list[MountFigures]:
        """Of all mounts, by their names; quick, unlike `status`."""
        with self._lock:
            entries = sorted(self._entries.items())
            return [figures_of(e.record, e.plan, e.served, e.trouble) for _, e in entries]

    def close(self) -> None:
        """The mounts are not over: another process goes on with them."""
        self._timers.close()
        with self._lock:
            entries, self._entries = list(self._entries.values()), {}
            for entry in entries:
                entry.over = True
        for entry in entries:
            if entry.served is not None:
                entry.served.close()

    def _entry(self, mount: str) -> _Entry:
        try:
            return self._entries[mount]
        except KeyError:
            raise NotFound(f"there is no mount {mount}") from None

    def _serve(self, entry: _Entry, *, patience: float = _PATIENCE) -> ServedMount:
        """Lease what a mount shows, unless that was done. Others wait for it, but nobody who wants another mount."""
        with entry.serving:
            if entry.served is not None:
                return entry.served
            try:
                served = self._lease(entry.plan, entry.record, patience, known=entry.known)
            except ModelcarError as e:
                entry.trouble = str(e)
                raise
            with self._lock:
                if not entry.over:
                    entry.served, entry.trouble, entry.known = served, None, True
                    return served
        served.close()
        raise NotFound(f"the mount {entry.record.id} is over")

    def _lease(self, plan: MountPlan, record: MountRecord, patience: float, *, known: bool) -> ServedMount:
        grids: Mapping[Digest, Grid] = {}
        if plan.index is not None:
            grids = self._indexes.read(record.origin, plan.index, patience).grids
        first: Mapping[int, Ranges] = {}
        if record.ranks is not None:
            try:
                first = RankedReading(self._leases, record.origin, plan, grids, patience).ranges(record.ranks)
            except ModelcarError as e:
                if not known:
                    raise
                _LOG.warning("the mount at %s is fetched in no rank's order: %s", record.target, e)
        return ServedMount(
            plan, grids, self._leases, record.origin, later=self._timers.later, wake=self._wake, first=first
        )

    # The thread.

    def _wake(self) -> None:
        self._timers.later(0, self._step)

    def _step(self) -> None:
        now = time.monotonic()
        with self._lock:
            served = [entry.served for entry in self._entries.values() if entry.served is not None]
        for each in served:
            each.ahead.step(now)

    def _tick(self) -> None:
        now = time.monotonic()
        self._step()
        orphans: list[MountRecord] = []
        with self._lock:
            for entry in list(self._entries.values()):
                if entry.served is not None:
                    entry.speed.note(entry.served.total_present, now)
                if self._shows_life(entry):
                    entry.last_sign = now
                    continue
                if entry.record.supervisor is not None:
                    orphans.append(entry.record)
                if now - entry.last_sign > self._grace:
                    _LOG.info("the mount at %s is over", entry.record.target)
                    self.remove(entry.record.id)
        for record in orphans:
            self._orphaned(record)
        self._timers.later(_TICK, self._tick)

    def _shows_life(self, entry: _Entry) -> bool:
        if entry.serving.locked() or (entry.served is not None and entry.served.clients):
            return True
        known = entry.record.supervisor
        return known is not None and start_time(known[0]) == known[1]
