"""Squarified treemaps (Bruls, Huizing and van Wijk, 2000): rectangles whose areas are sizes, as square as may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Rectangle", "squarify"]


@dataclass(frozen=True, slots=True)
class Rectangle:
    """`x` and `y` are of the upper left corner, in the units of the rectangle that was divided."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height


def squarify(sizes: Sequence[int], width: float, height: float) -> list[Rectangle]:
    """Divide `width` x `height` into a rectangle a size, in the order of `sizes`, areas in proportion.

    A size of 0 gets a rectangle without area; so does every size if all are 0. The largest ones lie in the upper left.

    Raises:
        ValueError: a size is negative.
    """
    if any(size < 0 for size in sizes):
        raise ValueError("a treemap has no place for a negative size")
    placed = [Rectangle(0.0, 0.0, 0.0, 0.0)] * len(sizes)
    order = sorted((i for i, size in enumerate(sizes) if size), key=lambda i: (-sizes[i], i))
    # Whole bytes stay whole until the last division, so that nothing is lost however unequal they are.
    free, left, at = Rectangle(0.0, 0.0, width, height), sum(sizes), 0
    while at < len(order):
        row = _next_row([sizes[i] for i in order[at:]], free, left)
        stacked = free.width >= free.height
        strip, free = _cut(free, sum(row) / left, stacked=stacked)
        for i, part in zip(order[at:], _share(strip, row, stacked=stacked), strict=False):
            placed[i] = part
        at, left = at + len(row), left - sum(row)
    return placed


def _next_row(sizes: Sequence[int], free: Rectangle, total: int) -> list[int]:
    """The sizes that lie side by side along the shorter side of `free`: one more as long as that makes them squarer."""
    side, scale = min(free.width, free.height), free.area / total
    row, best = [sizes[0]], _worst(sizes[0], sizes[0], sizes[0], scale, side)
    for size in sizes[1:]:
        shape = _worst(row[0], size, sum(row) + size, scale, side)
        if shape > best:
            break
        row.append(size)
        best = shape
    return row


def _worst(largest: int, smallest: int, total: int, scale: float, side: float) -> float:
    """The greatest ratio of sides in a row that has `total`; infinite where it has no area that a float can hold."""
    area = total * scale
    squares = side * side, area * area
    if not all(squares) or not smallest * scale:
        return math.inf
    return max(squares[0] * largest * scale / squares[1], squares[1] / (squares[0] * smallest * scale))


def _cut(free: Rectangle, part: float, *, stacked: bool) -> tuple[Rectangle, Rectangle]:
    """`part` of it, a column on the left or a row on top, and the rest."""
    x, y, width, height = free.x, free.y, free.width, free.height
    if stacked:
        edge = width * part
        return Rectangle(x, y, edge, height), Rectangle(x + edge, y, width - edge, height)
    edge = height * part
    return Rectangle(x, y, width, edge), Rectangle(x, y + edge, width, height - edge)


def _share(strip: Rectangle, sizes: Sequence[int], *, stacked: bool) -> list[Rectangle]:
    """The strip divided among `sizes`: downwards in a column, sideways in a row."""
    total, before, parts = sum(sizes), 0, []
    for size in sizes:
        start, length = before / total, size / total
        if stacked:
            part = Rectangle(strip.x, strip.y + strip.height * start, strip.width, strip.height * length)
        else:
            part = Rectangle(strip.x + strip.width * start, strip.y, strip.width * length, strip.height)
        parts.append(part)
        before += size
    return parts
