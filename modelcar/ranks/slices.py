"""A slice of a tensor, and the bytes that it lies in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from modelcar.checkpoint.formats.header import Tensor

__all__ = ["Cut", "TensorPart", "Why", "merge_ranges", "part_of"]

Span = tuple[int, int]
"""`[start, stop)`"""


class Why(StrEnum):
    """Why a rank has all of a tensor."""

    SHARED = "every rank has all of it"
    UNKNOWN = "nothing is known by that name"
    ODD = "its shape is not what config.json lets expect"
    UNEVEN = "it cannot be divided evenly"
    UNSURE = "how engines divide it is not known"


@dataclass(frozen=True, slots=True)
class Cut:
    """What of a tensor belongs to a rank: `spans`, in elements along `dimension`, sorted and apart."""

    dimension: int
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPart:
    """What a rank has of a tensor, and the bytes of the file that hold it.

    Slices of the outermost dimension are contiguous. Others are strided, a few KiB in every row: then `ranges` is the
    whole tensor, to be fetched once and shared by the ranks of a node.

    Attributes:
        dimension: along which it is cut, 0 the outermost; `None` for all of it.
        spans: `[start, stop)` in elements of the stored tensor along `dimension`, sorted; empty for all of it.
        ranges: `[start, stop)` in bytes from the start of the file, sorted and apart.
        why: the reason where it is not cut.
    """

    tensor: Tensor
    dimension: int | None
    spans: tuple[Span, ...]
    ranges: tuple[Span, ...]
    why: Why | None = None

    @property
    def fetched(self) -> int:
        """Bytes to fetch."""
        return sum(stop - start for start, stop in self.ranges)

    @property
    def used(self) -> int:
        """Bytes that the rank keeps."""
        if self.dimension is None:
            return self.tensor.size
        kept = sum(stop - start for start, stop in self.spans)
        return self.tensor.size * kept // self.tensor.shape[self.dimension]


def part_of(tensor: Tensor, found: Cut | Why) -> TensorPart:
    """What a rank has of `tensor`."""
    whole = ((tensor.offset, tensor.offset + tensor.size),) if tensor.size else ()
    if isinstance(found, Why):
        return TensorPart(tensor=tensor, dimension=None, spans=(), ranges=whole, why=found)
    row, rest = divmod(tensor.size, tensor.shape[0])
    if found.dimension > 0 or rest:
        return TensorPart(tensor=tensor, dimension=found.dimension, spans=found.spans, ranges=whole)
    ranges = ((tensor.offset + start * row, tensor.offset + stop * row) for start, stop in found.spans)
    return TensorPart(tensor=tensor, dimension=0, spans=found.spans, ranges=merge_ranges(ranges))


def merge_ranges(ranges: Iterable[Span]) -> tuple[Span, ...]:
    """Sorted, without empty ones, and what touches or overlaps made one.

    >>> merge_ranges([(8, 9), (0, 4), (4, 6), (5, 5)])
    ((0, 6), (8, 9))
    """
    merged: list[Span] = []
    for start, stop in sorted(ranges):
        if start == stop:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return tuple(merged)
