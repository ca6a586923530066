"""Which models a node shall have: what is wished for, within what it has room for. Pure.

The order, and with it the answer, is stable: what was placed stays placed while nothing else changes.

1. Models that are pinned there and there, or on their way, whatever came since: a pin is a promise.
2. The others by priority, then by age and name of their ModelCache.

What does not fit is left out and smaller ones behind it may still come. Where an operator set a limit, an image of
which nobody knows the size is fetched alone and within what is left: the node does not begin with one that has more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelcar.progress import human_size

__all__ = ["Placement", "Room", "Wish", "place"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """An image that ModelCaches want on a node.

    Attributes:
        size: bytes, as far as a node has told; `None` if none has.
        created: when the oldest of its ModelCaches came to be, as Kubernetes writes it.
        caches: their names, sorted.
        options: what else the node is told: `pullSecret`, `refreshSeconds`.
    """

    image: str
    priority: int = 0
    pin: bool = True
    size: int | None = None
    created: str = ""
    caches: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a node has for models.

    Attributes:
        limit: bytes that an operator allows; `None` for no limit.
        capacity: bytes that its shim has for them, as it reports; `None` if it has not.
        problem: why nothing new can be placed.
    """

    limit: int | None = None
    capacity: int | None = None
    problem: str | None = None

    @property
    def size(self) -> int | None:
        known = [bound for bound in (self.limit, self.capacity) if bound is not None]
        return min(known) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """`models` is the ModelNode's `spec.models`, the most urgent first; images that are not among them have a reason,
    and `waiting` ones get their turn."""

    models: tuple[dict[str, Any], ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)


def place(node: str, wishes: Iterable[Wish], room: Room, promised: Collection[str] = ()) -> Placement:
    """`promised` images are pinned on the node, and there or on their way. Of two wishes for one image only one may be
    among `wishes`."""
    ordered = sorted(wishes, key=lambda w: (not (w.pin and w.image in promised), -w.priority, w.created, w.image))
    models: list[dict[str, Any]] = []
    refused: dict[str, str] = {}
    waiting: dict[str, str] = {}
    taken, unknown = 0, None
    for wish in ordered:
        kept = wish.pin and wish.image in promised
        left = None if room.size is None else max(0, room.size - taken)
        alone = wish.size is None and room.limit is not None
        reason = room.problem or _misfit(wish, left, node)
        if kept or reason is None:
            if alone and unknown is not None and not kept:
                waiting[wish.image] = f"waits for {unknown}, of which nobody knows yet how much room it needs"
                continue
            models.append(_model(wish, max(1, left or 0) if alone else None))
            unknown = wish.image if alone else unknown
            taken += wish.size or 0
        else:
            refused[wish.image] = reason
    return Placement(models=tuple(models), refused=refused, waiting=waiting)


def _misfit(wish: Wish, left: int | None, node: str) -> str | None:
    if left is None or (wish.size or 1) <= left:
        return None
    needs = human_size(wish.size) if wish.size else "room"
    return f"needs {needs}, node {node} has {human_size(left)}"


def _model(wish: Wish, most: int | None) -> dict[str, Any]:
    model = {"image": wish.image, "priority": wish.priority, "pin": wish.pin, "caches": list(wish.caches)}
    return model | dict(wish.options) | ({"mostBytes": most} if most is not None else {})
