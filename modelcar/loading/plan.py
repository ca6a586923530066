"""What is read, in which order: a file's wanted ranges from its start to its end, in large requests. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from modelcar.loading.files import Piece, WeightFile
from modelcar.loading.parts import WHOLE, PartOf, Strips

__all__ = ["READ_SIZE", "Read", "Share", "Wanted", "pieces_of", "plan_reads", "want"]

READ_SIZE: Final = 16 << 20  # bytes of a request; a few of them keep disks and networks busy


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A tensor that is to be loaded, or a part of one.

    Attributes:
        file: the number of the file that it lies in.
        proof: not a tensor then, but the head of the file, which has to have these bytes.
    """

    file: int
    name: str
    dtype: str
    strips: Strips
    proof: bytes = b""


@dataclass(frozen=True, slots=True)
class Share:
    """What a read brings of one `Wanted`: the bytes `[start, stop)` of it, packed."""

    wanted: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Read:
    """One request: `[offset, offset + size)` of a file."""

    file: int
    offset: int
    size: int
    shares: tuple[Share, ...]


def want(files: Sequence[WeightFile], part_of: PartOf = lambda *_: WHOLE) -> list[Wanted]:
    """All tensors of `files`, or what `part_of` says of each, in the order in which they lie.

    Raises:
        UsageError: a tensor has no such part.
    """
    result: list[Wanted] = []
    for number, file in enumerate(files):
        tensors = []
        for tensor in file.header.tensors:
            part = part_of(tensor.name, tensor.shape, tensor.dtype)
            if part is not None:
                strips = Strips.of(tensor, part)
                tensors.append(Wanted(file=number, name=tensor.name, dtype=tensor.dtype, strips=strips))
        if tensors and file.proof:
            size = len(file.proof)
            head = Strips(offset=0, rows=1, pitch=size, columns=((0, size),), shape=(size,))
            result.append(Wanted(file=number, name="", dtype="U8", strips=head, proof=file.proof))
        result += tensors
    return result


def plan_reads(files: Sequence[WeightFile], wanted: Sequence[Wanted], *, size: int = READ_SIZE) -> Iterator[Read]:
    """Requests of at most `size` bytes, or of one unit of a file where that is larger, in the order of `wanted`."""
    last = 0
    while last < len(wanted):
        first, number = last, wanted[last].file
        while last < len(wanted) and wanted[last].file == number:
            last += 1
        yield from _plan_file(files[number], range(first, last), wanted, size)


def pieces_of(read: Read, wanted: Sequence[Wanted], targets: Iterable[memoryview]) -> Iterator[Piece]:
    """Where the bytes of `read` go. `targets` has memory for each share."""
    position, stop = read.offset, read.offset + read.size
    for share, target in zip(read.shares, targets, strict=True):
        for offset, size in wanted[share.wanted].strips.within(position, stop):
            if offset > position:
                yield offset - position
            yield target[:size]
            target, position = target[size:], offset + size
    if position < stop:
        yield stop - position


def _plan_file(file: WeightFile, numbers: range, wanted: Sequence[Wanted], size: int) -> Iterator[Read]:
    first = numbers.start
    for start, stop in _joined(file, (wanted[number].strips for number in numbers)):
        while start < stop:
            end = stop
            if stop - start > size:
                unit = file.unit(start + size)
                end = unit[0] if unit[0] > start else unit[1]
            while first < numbers.stop and wanted[first].strips.extent[1] <= start:
                first += 1
            shares = tuple(_shares(range(first, numbers.stop), wanted, start, end))
            if shares:
                yield Read(wanted[numbers.start].file, start, end - start, shares)
            start = end


def _shares(numbers: range, wanted: Sequence[Wanted], start: int, stop: int) -> Iterator[Share]:
    for number in numbers:
        strips = wanted[number].strips
        if strips.extent[0] >= stop:
            return
        begin, end = strips.before(start), strips.before(stop)
        if begin < end:
            yield Share(number, begin, end)


def _joined(file: WeightFile, parts: Iterable[Strips]) -> Iterator[tuple[int, int]]:
    """Ranges of whole units with all that is wanted in them, no two of them near each other."""
    start = stop = None
    for left, right in (run for strips in parts for run in _runs(strips, file.gap)):
        begin, end = file.unit(left)[0], file.unit(right - 1)[1]
        if start is None or stop is None:
            start, stop = begin, end
        elif begin - stop <= file.gap:
            stop = max(stop, end)
        else:
            yield start, stop
            start, stop = begin, end
    if start is not None and stop is not None:
        yield start, stop


def _runs(strips: Strips, gap: int) -> Iterator[tuple[int, int]]:
    """Ranges with all bytes of a part; what is left out between two of them is more than `gap`."""
    if not strips.size:
        return
    columns = strips.columns
    inner = max((after[0] - before[1] for before, after in pairwise(columns)), default=0)
    if inner <= gap and (strips.rows == 1 or strips.pitch - columns[-1][1] + columns[0][0] <= gap):
        yield strips.extent
        return
    for offset, size in strips.within(*strips.extent):
        yield offset, offset + size
