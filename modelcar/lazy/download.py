"""Blobs that one program wants on its disk now: parallel ranges across all and inside each, resumed, verified."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from modelcar.errors import ModelcarError
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.scheduler import Scheduler
from modelcar.lazy.settings import FetchSettings
from modelcar.lazy.sources import ChunkSource, Outcome
from modelcar.lazy.transfer import Transfer
from modelcar.lazy.upstream import RegistrySource
from modelcar.oci import Reference
from modelcar.registry import ClientSettings, Registry
from modelcar.registry.cancel import current_scope

__all__ = ["Downloads", "registry_downloads"]

_LOOK: Final = 0.1  # seconds between two looks at how far it is
_TRIES: Final = 3  # of one stream, which goes on where it broke; the rest of the patience is the transfer's


class Downloads:
    """The fetch threads of one program, and the one place that it fetches from. A context manager; for any thread."""

    def __init__(self, source: ChunkSource, settings: FetchSettings | None = None) -> None:
        self._router = _OneSource(source)
        self._scheduler = Scheduler(settings)

    def fill(
        self,
        blob: PartialBlob,
        ranges: Sequence[tuple[int, int]] | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Fetch what is missing of a blob, and return when it is here: all, with the digest of the whole checked, or
        the chunks that `ranges` (`[start, stop)`) touch, each checked by its own.

        Args:
            advance: told of bytes that have arrived, those that were here before first.

        Raises:
            InvalidContent: it is not what its digest says; without chunk digests nothing of it can be kept.
            RegistryError, StorageError: what is here is right, and a later call goes on.
        """
        if ranges is not None and not blob.grid.verifiable:
            raise ValueError("ranges of a blob without chunk digests cannot be verified")
        filling = _Filling(blob, self._router, self._scheduler, advance)
        if ranges is None:
            filling.whole()
        else:
            filling.some(ranges)

    def close(self) -> None:
        self._scheduler.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Filling:
    """One blob on its way."""

    def __init__(
        self, blob: PartialBlob, router: _OneSource, scheduler: Scheduler, advance: Callable[[int], None]
    ) -> None:
        self._blob, self._advance = blob, advance
        self._told = 0
        self._ended = threading.Event()
        self._error: ModelcarError | None = None
        self._transfer = Transfer(blob, router, scheduler, finished=self._finished, in_parts=True)

    def whole(self) -> None:
        try:
            self._transfer.start()
            while not self._ended.wait(_LOOK):
                self._look(self._blob.present)
            if self._error is not None:
                raise self._error
            self._look(self._blob.present)
        finally:
            self._transfer.stop()

    def some(self, ranges: Sequence[tuple[int, int]]) -> None:
        grid = self._blob.grid
        numbers = sorted({number for start, stop in ranges for number in grid.numbers(start, stop - start)})
        sizes = {number: grid.bounds(number)[1] for number in numbers}
        self._transfer.background = False
        try:
            self._transfer.start()
            for start, stop in ranges:
                self._transfer.need(start, stop - start, who=(start, stop))
            while missing := [number for number in numbers if not self._blob.has(number)]:
                self._look(sum(sizes.values()) - sum(sizes[number] for number in missing))
                if self._ended.wait(_LOOK) and self._error is not None:
                    raise self._error
            self._look(sum(sizes.values()))
        finally:
            self._transfer.stop()

    def _finished(self, error: ModelcarError | None) -> None:
        self._error = error
        self._ended.set()

    def _look(self, present: int) -> None:
        if (scope := current_scope()) is not None:
            scope.check()
        if present > self._told:
            self._advance(present - self._told)
            self._told = present


class _OneSource:
    """A `Router` where there is nothing to choose."""

    def __init__(self, source: ChunkSource) -> None:
        self._sources = (source,)

    def background(self, grid: Grid) -> Iterable[int]:
        return range(len(grid))

    def candidates(self, grid: Grid, number: int) -> Sequence[ChunkSource]:  # noqa: ARG002  # the protocol's: all are asked for all
        return self._sources

    def is_at_hand(self, grid: Grid, number: int) -> bool:  # noqa: ARG002  # the protocol's: all are asked for all
        return True

    def report(self, source: ChunkSource, outcome: Outcome, size: int, seconds: float) -> None:
        """Nobody else could be asked."""


@contextmanager
def registry_downloads(
    ref: Reference, settings: ClientSettings, fetch: FetchSettings | None = None
) -> Iterator[Downloads]:
    """Downloads of blobs of one repository, with the client's own logins, and its limit of bytes a second."""
    chosen = replace(fetch or FetchSettings(), rate=settings.limit_rate)
    few = replace(settings, attempts=_TRIES, limit_rate=None, concurrency=chosen.upstream_streams)
    with Registry(few) as registry:
        source = RegistrySource(ref.registry, lambda _: [(registry, ref)])
        with Downloads(source, chosen) as downloads:
            yield downloads
