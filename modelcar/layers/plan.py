"""How files are spread over layers: one weight shard a layer, packed together only where there would be too many."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

__all__ = ["pack"]


def pack(sizes: Sequence[int], limit: int) -> list[range]:
    """Group items of these sizes (bytes) into at most `limit` runs of neighbours, merging as little as possible.

    While there are too many runs, the two neighbours that are smallest together become one, so large shards keep a
    layer of their own and a changed shard changes one layer. Ties go to the first pair: the result is a function of
    `sizes` and `limit`.

    >>> pack([9, 1, 1, 9], limit=3)
    [range(0, 1), range(1, 3), range(3, 4)]
    """
    if limit < 1:
        raise ValueError("there must be room for at least one layer")
    count = len(sizes)
    runs = {i: range(i, i + 1) for i in range(count)}  # by where they start
    totals = dict(enumerate(sizes))
    starts = {i + 1: i for i in range(count)}  # of runs, by where they stop
    pairs = [(sizes[i] + sizes[i + 1], i) for i in range(count - 1)]
    heapify(pairs)
    while len(runs) > limit:
        total, start = heappop(pairs)
        middle = runs[start].stop if start in runs else count
        if middle == count or totals[start] + totals[middle] != total:
            continue  # one of the two has been merged since; the pair that came of it is in the heap
        stop = runs.pop(middle).stop
        runs[start], totals[start], starts[stop] = range(start, stop), total, start
        if stop < count:
            heappush(pairs, (total + totals[stop], start))
        if start > 0:
            before = starts[start]
            heappush(pairs, (totals[before] + total, before))
    return [runs[start] for start in sorted(runs)]
