"""How files are spread over layers: one weight shard a layer, packed together only where there would be too many."""

from __future__ import annotations

from collections.abc import Sequence

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
    runs = [range(i, i + 1) for i in range(len(sizes))]
    totals = list(sizes)
    while len(runs) > limit:
        i = min(range(len(runs) - 1), key=lambda j: totals[j] + totals[j + 1])
        runs[i : i + 2] = [range(runs[i].start, runs[i + 1].stop)]
        totals[i : i + 2] = [totals[i] + totals[i + 1]]
    return runs
