"""How large a value is when everything that it shares is counted each time, and how deep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from modelcar.scanning.formats.pickles.values import Box, Instance, Value

__all__ = ["excess"]

_DEEPEST: Final = 1000  # no pickler of Python gets deeper
_HEAVIEST: Final = 100_000_000


def excess(roots: Iterable[Value]) -> str:
    """What is too much about the values, or nothing. Looking at them all, as hashing or printing does, takes too long.

    It takes time in proportion to the containers that are there, not to what they seem to hold.
    """
    known: dict[int, tuple[int, int]] = {}
    for root in roots:
        if isinstance(root, (tuple, Box, Instance)) and id(root) not in known:
            weight, depth = _measure(root, known)
            if weight > _HEAVIEST:
                return "it holds the same values over and over"
            if depth > _DEEPEST:
                return f"it is nested {depth} deep"
    return ""


def _measure(root: Value, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Weight and depth of a container; those of all inside it become `known`. A cycle counts once."""
    pending: list[tuple[Value, bool]] = [(root, False)]
    while pending:
        value, inside_is_known = pending.pop()
        if inside_is_known:
            weight, depth = 1, 0
            for child in _children(value):
                if isinstance(child, (tuple, Box, Instance)):
                    w, d = known[id(child)]
                    weight += w
                    depth = max(depth, d)
                else:
                    weight += 1
            known[id(value)] = (min(weight, _HEAVIEST + 1), depth + 1)
        elif id(value) not in known:
            known[id(value)] = (1, 1)
            pending.append((value, True))
            pending += [
                (child, False)
                for child in _children(value)
                if isinstance(child, (tuple, Box, Instance)) and id(child) not in known
            ]
    return known[id(root)]


def _children(value: Value) -> Sequence[Value]:
    if isinstance(value, tuple):
        return value
    if isinstance(value, Box):
        return value.items
    return (*(value.args or ()), value.state) if isinstance(value, Instance) else ()
