"""How large a value is when everything that it shares is counted each time, and how deep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from modelcar.scanning.formats.pickles.values import Box, Instance, Value

__all__ = ["excess"]

_DEEPEST: Final = 1000  # no pickler of Python gets deeper
_HEAVIEST: Final = 100_000_000
_CONTAINERS: Final = frozenset({tuple, Box, Instance})


def excess(roots: Iterable[Value]) -> str:
    """What is too much about the values, or nothing. Looking at them all, as hashing or printing does, takes too long.

    It takes time in proportion to the containers that are there, not to what they seem to hold.
    """
    known: dict[int, tuple[int, int]] = {}
    for root in roots:
        if type(root) in _CONTAINERS and id(root) not in known:
            if type(root) is tuple and _CONTAINERS.isdisjoint(map(type, root)):
                continue  # most are like that
            weight, depth = _measure(root, known)
            if weight > _HEAVIEST:
                return "it holds the same values over and over"
            if depth > _DEEPEST:
                return f"it is nested {depth} deep"
    return ""


def _measure(root: Value, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Weight and depth of a container; those of all inside it become `known`. A cycle counts once."""
    pending: list[tuple[Value, Sequence[Value], list[Value] | None]] = [(root, _children(root), None)]
    while pending:
        value, children, inner = pending.pop()
        if inner is None:
            if id(value) in known:
                continue
            inner = [child for child in children if type(child) in _CONTAINERS]
            known[id(value)] = (1, 1)
            new = [child for child in inner if id(child) not in known]
            if new:
                pending.append((value, children, inner))
                pending += [(child, _children(child), None) for child in new]
                continue
        weight, depth = len(children) - len(inner) + 1, 0
        for child in inner:
            w, d = known[id(child)]
            weight += w
            depth = max(depth, d)
        known[id(value)] = (min(weight, _HEAVIEST + 1), depth + 1)
    return known[id(root)]


def _children(value: Value) -> Sequence[Value]:
    if isinstance(value, tuple):
        return value
    if isinstance(value, Box):
        return value.items
    return (*(value.args or ()), value.state) if isinstance(value, Instance) else ()
