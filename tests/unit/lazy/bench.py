"""A scheduler and its transfers, for tests of what they do."""

from __future__ import annotations

import threading
from pathlib import Path

from modelcar.errors import ModelcarError
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.scheduler import Scheduler
from modelcar.lazy.settings import FetchSettings
from modelcar.lazy.transfer import State, Transfer
from tests.support.chunks import Content, Reports

__all__ = ["FAST", "SMALL", "TIMEOUT", "Bench", "check"]

TIMEOUT = 20
SMALL = 64 << 10
FAST = FetchSettings(backoff=0.01, backoff_limit=0.05, attempts=3, hedge_after=0.1, stall=5.0)


class Bench:
    """A scheduler, a blob, and what its transfer reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.schedulers: list[Scheduler] = []
        self.transfers: list[Transfer] = []
        self.ends: list[ModelcarError | None] = []
        self.ended = threading.Event()

    def transfer(
        self, grid: Grid, router: Reports, settings: FetchSettings = FAST, partial: PartialBlob | None = None
    ) -> Transfer:
        scheduler = Scheduler(settings)
        partial = partial or PartialBlob.create(self.folder / f"blob{len(self.transfers)}", grid)
        transfer = Transfer(partial, router, scheduler, finished=self._finished)
        self.schedulers.append(scheduler)
        self.transfers.append(transfer)
        return transfer

    def run(self, transfer: Transfer) -> ModelcarError | None:
        """Start it and wait for its end."""
        self.ended.clear()
        transfer.start()
        assert self.ended.wait(TIMEOUT), transfer.status()
        return self.ends[-1]

    def _finished(self, error: ModelcarError | None) -> None:
        self.ends.append(error)
        self.ended.set()

    def close(self) -> None:
        for transfer in self.transfers:
            transfer.stop()
            transfer.partial.close()
        for scheduler in self.schedulers:
            scheduler.close()


def check(transfer: Transfer, content: Content) -> None:
    assert transfer.partial.read(0, len(content.data)) == content.data
    assert transfer.state is State.DONE
