"""What of a tensor one rank has, and where in a file the bytes of it lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from modelcar.checkpoint.formats.header import Tensor
from modelcar.errors import UsageError

__all__ = ["WHOLE", "Part", "PartOf", "Strips"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The elements `[start, stop)` of `ranges` along the dimension `dim`, one range after the other; all of the other
    dimensions. Ranges ascend and do not overlap. Without `ranges` it is the whole tensor."""

    dim: int = 0
    ranges: tuple[tuple[int, int], ...] | None = None


WHOLE: Final = Part()
PartOf = Callable[[str, tuple[int, ...], str], Part | None]
"""From name, shape and dtype of a tensor to what a rank has of it; `None`: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strips:
    """The bytes of a part, packed: for each of `rows` rows, `pitch` bytes apart, the `columns` of it.

    Attributes:
        offset: of the tensor's first byte in the file.
        columns: `(start, stop)` in bytes from the start of a row, ascending.
        shape: of the packed tensor.
    """

    offset: int
    rows: int
    pitch: int
    columns: tuple[tuple[int, int], ...]
    shape: tuple[int, ...]
    _width: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_width", sum(stop - start for start, stop in self.columns))

    @classmethod
    def of(cls, tensor: Tensor, part: Part = WHOLE) -> Strips:
        """
        Raises:
            UsageError: the tensor has no such part, or one that does not end with a byte.
        """
        ranges, dim = part.ranges, part.dim
        if ranges is None:
            return cls._whole(tensor)
        _check(tensor, dim, ranges)
        length = tensor.shape[dim]
        if ranges == ((0, length),):
            return cls._whole(tensor)
        rows = math.prod(tensor.shape[:dim])
        shape = (*tensor.shape[:dim], sum(stop - start for start, stop in ranges), *tensor.shape[dim + 1 :])
        if not tensor.size:
            return cls(offset=tensor.offset, rows=0, pitch=0, columns=(), shape=shape)
        bits = tensor.size * 8 // (rows * length)  # of one element along `dim`, with all that is inside
        edges = {edge for pair in ranges for edge in pair} | ({length} if rows > 1 else set())
        if any(edge * bits % 8 for edge in edges):
            raise UsageError(f"{tensor.name}: a part of it begins or ends within a byte: {tensor.dtype} packs elements")
        columns = _columns((start * bits // 8, stop * bits // 8) for start, stop in ranges)
        return cls(
            offset=tensor.offset, rows=rows if columns else 0, pitch=bits * length // 8, columns=columns, shape=shape
        )

    @classmethod
    def _whole(cls, tensor: Tensor) -> Strips:
        columns = ((0, tensor.size),) if tensor.size else ()
        return cls(offset=tensor.offset, rows=1, pitch=tensor.size, columns=columns, shape=tensor.shape)

    @property
    def size(self) -> int:
        """Bytes of the packed part."""
        return self.rows * self._width

    @property
    def extent(self) -> tuple[int, int]:
        """`(start, stop)` in the file: from its first byte to its last one."""
        if not self.size:
            return self.offset, self.offset
        return self.offset + self.columns[0][0], self.offset + (self.rows - 1) * self.pitch + self.columns[-1][1]

    def within(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """`(offset in the file, bytes)` of what lies in `[start, stop)` of the file, in order."""
        if not self.size:
            return
        first = max(0, (start - self.offset) // self.pitch)
        last = min(self.rows, -(-(stop - self.offset) // self.pitch))
        for row in range(first, last):
            base = self.offset + row * self.pitch
            for left, right in self.columns:
                begin, end = max(start, base + left), min(stop, base + right)
                if begin < end:
                    yield begin, end - begin

    def before(self, offset: int) -> int:
        """How many bytes of the packed part lie before this place in the file."""
        if not self.size or offset <= self.offset:
            return 0
        row, rest = divmod(offset - self.offset, self.pitch)
        if row >= self.rows:
            return self.size
        return row * self._width + sum(max(0, min(rest, right) - left) for left, right in self.columns)


def _columns(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Without empty ones, and neighbours joined."""
    columns: list[tuple[int, int]] = []
    for start, stop in ranges:
        if start == stop:
            continue
        if columns and columns[-1][1] == start:
            columns[-1] = (columns[-1][0], stop)
        else:
            columns.append((start, stop))
    return tuple(columns)


def _check(tensor: Tensor, dim: int, ranges: tuple[tuple[int, int], ...]) -> None:
    if not 0 <= dim < len(tensor.shape):
        raise UsageError(f"{tensor.name} has the shape {list(tensor.shape)}, and so no dimension {dim}")
    position, length = 0, tensor.shape[dim]
    for start, stop in ranges:
        if not position <= start <= stop <= length:
            raise UsageError(
                f"{tensor.name}: {start} to {stop} is no part of the {length} elements along dimension {dim}, or not "
                "after the part before it"
            )
        position = stop
