"""Which blobs are in use, and by whom."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from modelcar.cache.holding import Arriving, Holding
from modelcar.cache.lease import Purpose
from modelcar.cache.loan import Loan
from modelcar.lazy.transfer import State
from modelcar.oci import Digest

__all__ = ["Entries", "Entry"]

_AS_NEEDED: Final = (Purpose.PEER, Purpose.MOUNT)


@dataclass(slots=True, eq=False)
class Entry:
    """A holding, and for what it is used by whom.

    Attributes:
        wanted: it is fetched to its end even when nobody uses it any more.
        still: no thread writes to it, so that it may be closed.
        timer: puts it away when nobody has come back.
    """

    holding: Holding
    loans: dict[Loan, Purpose] = field(default_factory=dict)
    wanted: bool = False
    still: bool = False
    closed: bool = False
    timer: threading.Timer | None = None

    @property
    def digest(self) -> Digest:
        return self.holding.grid.digest

    @property
    def key(self) -> tuple[Digest, str]:
        return self.digest, self.holding.grid.name

    @property
    def runs(self) -> bool:
        """Whether it is on its way, or came and is not in the store yet."""
        if not isinstance(self.holding, Arriving):
            return False
        state = self.holding.transfer.state
        return state is State.DONE or (state is State.RUNNING and self.wanted)

    def update(self) -> None:
        """Its transfer does what those who use it want, the most urgent purpose first."""
        if isinstance(self.holding, Arriving):
            if self.loans:
                self.holding.transfer.priority = min(self.loans.values())
            whole = any(purpose not in _AS_NEEDED for purpose in self.loans.values())
            self.holding.transfer.background = self.wanted or whole

    def cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Entries:
    """Safe to use from several threads; nothing here waits for the disk or for a transfer."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._whole: dict[Digest, Entry] = {}
        self._arriving: dict[tuple[Digest, str], Entry] = {}
        self._gone: set[Entry] = set()  # committed, removed or revoked, and still in use

    def borrow_whole(self, loan: Loan, purpose: Purpose) -> Entry | None:
        with self._lock:
            entry = self._whole.get(loan.grid.digest)
            if entry is None or entry.holding.grid.size != loan.grid.size:
                return None
            return self._lend(entry, loan, purpose)

    def borrow_arriving(self, loan: Loan, purpose: Purpose) -> Entry | None:
        with self._lock:
            entry = self._arriving.get((loan.grid.digest, loan.grid.name))
            return None if entry is None else self._lend(entry, loan, purpose)

    def add_whole(self, holding: Holding, loan: Loan, purpose: Purpose) -> Entry:
        entry = Entry(holding, still=True)
        with self._lock:
            self._whole[entry.digest] = entry
            return self._lend(entry, loan, purpose)

    def add_arriving(self, entry: Entry, loan: Loan, purpose: Purpose) -> Entry:
        with self._lock:
            self._arriving[entry.key] = entry
            return self._lend(entry, loan, purpose)

    def give_back(self, entry: Entry, loan: Loan) -> bool:
        """Returns whether nobody uses a blob any more that arrives. Others are closed with their last loan."""
        with self._lock:
            entry.loans.pop(loan, None)
            entry.update()
            if entry.loans:
                return False
            if self._arriving.get(entry.key) is entry:
                return True
            self._gone.discard(entry)
            if self._whole.get(entry.digest) is entry:
                del self._whole[entry.digest]
        self.close_unused(entry)
        return False

    def arriving(self, digest: Digest, grid: str) -> Arriving | None:
        with self._lock:
            entry = self._arriving.get((digest, grid))
        return entry.holding if entry is not None and isinstance(entry.holding, Arriving) else None

    def is_arriving(self, entry: Entry) -> bool:
        with self._lock:
            return self._arriving.get(entry.key) is entry

    def of(self, digest: Digest) -> list[Entry]:
        """Everything of a blob, what is only kept for its readers included."""
        with self._lock:
            return [e for e in self.all() if e.digest == digest]

    def whole(self, digest: Digest) -> list[Entry]:
        with self._lock:
            return [self._whole[digest]] if digest in self._whole else []

    def all(self) -> list[Entry]:
        with self._lock:
            return [*self._arriving.values(), *self._whole.values(), *self._gone]

    def current(self) -> list[tuple[Entry, int]]:
        """What new leases would get, and how many there are."""
        with self._lock:
            return [(e, len(e.loans)) for e in (*self._arriving.values(), *self._whole.values())]

    def in_use(self) -> set[Digest]:
        with self._lock:
            return {e.digest for e in self.all() if e.loans or e.runs}

    def forget(self, entries: list[Entry], *, unless: Callable[[Entry], bool] = lambda _: False) -> bool:
        """No new lease gets them; those who use them go on. Changes nothing and returns False if one is `unless`."""
        with self._lock:
            if any(unless(entry) for entry in entries):
                return False
            for entry in entries:
                entry.cancel_timer()
                if self._arriving.get(entry.key) is entry:
                    del self._arriving[entry.key]
                if self._whole.get(entry.digest) is entry:
                    del self._whole[entry.digest]
                if entry.loans:
                    self._gone.add(entry)
            return True

    def close_unused(self, entry: Entry) -> None:
        with self._lock:
            if entry.loans or entry.closed or not entry.still:
                return
            entry.closed = True
        entry.holding.close()

    def _lend(self, entry: Entry, loan: Loan, purpose: Purpose) -> Entry:
        entry.cancel_timer()
        entry.loans[loan] = purpose
        entry.wanted = entry.wanted or purpose in (Purpose.PULL, Purpose.SCAN)
        entry.update()
        return entry
