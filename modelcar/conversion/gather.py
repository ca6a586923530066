"""Elements that do not lie behind each other, put in order piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, product
from math import prod
from typing import Final, Literal

__all__ = ["gathered"]

_BLOCK: Final = 1 << 20  # elements at once
_FORMATS: Final[dict[int, Literal["B", "H", "I", "Q"]]] = {1: "B", 2: "H", 4: "I", 8: "Q"}

Dims = tuple[tuple[int, int], ...]


def gathered(storage: memoryview, offset: int, dims: Dims, item: int) -> Iterator[bytearray]:
    """The elements of a strided tensor in order, as pieces of at most a million.

    Args:
        storage: bytes; whatever the tensor reaches lies in it.
        offset: byte of the first element.
        dims: (elements, distance in elements) of each dimension, outermost first, at least one.
        item: bytes of an element: 1, 2, 4 or 8.
    """
    reach = 1 + sum((size - 1) * step for size, step in dims)
    with storage[offset : offset + reach * item] as part, part.cast(_FORMATS[item]) as elements:
        for start, block in _blocks(dims, 0):
            yield _in_order(elements, start, block, item)


def _blocks(dims: Dims, start: int) -> Iterator[tuple[int, Dims]]:
    """Blocks that follow each other in the result: where each begins, and its dimensions."""
    (size, step), inner = dims[0], dims[1:]
    inside = prod(n for n, _ in inner)
    if inside > _BLOCK:
        for i in range(size):
            yield from _blocks(inner, start + i * step)
        return
    rows = max(1, _BLOCK // inside)
    for i in range(0, size, rows):
        yield start + i * step, ((min(rows, size - i), step), *inner)


def _in_order(elements: memoryview, start: int, dims: Dims, item: int) -> bytearray:
    """One block, copied along its longest dimension, which takes the fewest steps."""
    sizes = [size for size, _ in dims]
    behind = [*accumulate(reversed(sizes[1:]), lambda a, b: a * b, initial=1)][::-1]  # distances in the result
    longest = max(range(len(dims)), key=sizes.__getitem__)
    size, step, stride = sizes[longest], dims[longest][1], behind[longest]
    result = bytearray(prod(sizes) * item)
    others = [i for i in range(len(dims)) if i != longest]
    with memoryview(result).cast(_FORMATS[item]) as target:
        for indices in product(*(range(sizes[i]) for i in others)):
            source = start + sum(index * dims[i][1] for index, i in zip(indices, others, strict=True))
            place = sum(index * behind[i] for index, i in zip(indices, others, strict=True))
            line = target[place : place + (size - 1) * stride + 1 : stride]
            if step:
                line[:] = elements[source : source + (size - 1) * step + 1 : step]
            else:
                line[:] = memoryview(bytes(elements[source : source + 1]) * size).cast(_FORMATS[item])
    return result
