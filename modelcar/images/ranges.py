"""Ranges of a blob with a chunk table: few requests, several at once, every chunk verified before anybody sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from modelcar.errors import SizeMismatch
from modelcar.lazy.grid import Grid
from modelcar.oci import Descriptor
from modelcar.packaging.fetch import RangedSource, RangeStream

__all__ = ["range_jobs"]

_RUN: Final = 32 << 20  # bytes of one request at most, so that several workers have something to do
_GAP: Final = 1 << 20  # bytes that are fetched in vain rather than with one more request

Take = Callable[[int, memoryview], None]
"""`take(offset, data)`: a verified chunk of the blob; the memory is used again afterwards."""


def range_jobs(
    source: RangedSource, descriptor: Descriptor, grid: Grid, ranges: Sequence[tuple[int, int]], take: Take
) -> list[Callable[[], None]]:
    """What is to be done, in any order or at once, to have every chunk taken that `ranges` touch, each once.

    Args:
        grid: how the blob is cut, with digests.
        ranges: `[start, stop)` in bytes of the blob.

    The jobs raise `InvalidContent` for bytes that are not what the table says, and what reading from `source` raises.
    """
    wanted = sorted({number for start, stop in ranges for number in grid.numbers(start, stop - start)})
    return [partial(_fetch, source, descriptor, grid, run, take) for run in _runs(grid, wanted)]


def _runs(grid: Grid, wanted: Sequence[int]) -> Iterator[list[int]]:
    """The chunks of each request."""
    run: list[int] = []
    for number in wanted:
        start, size = grid.bounds(number)
        if run:
            first, end = grid.bounds(run[0])[0], sum(grid.bounds(run[-1]))
            if start - end > _GAP or start + size - first > _RUN:
                yield run
                run = []
        run.append(number)
    if run:
        yield run


def _fetch(source: RangedSource, descriptor: Descriptor, grid: Grid, run: Sequence[int], take: Take) -> None:
    position, stop = grid.bounds(run[0])[0], sum(grid.bounds(run[-1]))
    buffer = memoryview(bytearray(max(_GAP, *(grid.bounds(number)[1] for number in run))))
    with source.open_range(descriptor, position, stop - position) as stream:
        for number in run:
            offset, size = grid.bounds(number)
            _fill(stream, buffer[: offset - position], descriptor)
            _fill(stream, data := buffer[:size], descriptor)
            grid.check(number, data)
            take(offset, data)
            position = offset + size


def _fill(stream: RangeStream, view: memoryview, descriptor: Descriptor) -> None:
    while view:
        n = stream.readinto(view)
        if not n:
            raise SizeMismatch(f"{descriptor.digest} has fewer than the {descriptor.size} bytes promised")
        view = view[n:]
