"""What may be done with a global that is vetted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelcar.scanning.formats.pickles.values import Instance, Kind, Value

__all__ = ["DATA", "Plain", "words"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """What may be done with a global.

    Attributes:
        call: whether it may be called with these arguments; `None`: never.
        state: whether a result may be restored from this state; `None`: never.
        takes: whether items may be added to a result, as to which container.
        nested: its first argument is a pickle itself, which is scanned as such.
    """

    call: Callable[[tuple[Value, ...]], bool] | None = None
    state: Callable[[Instance, Value], bool] | None = None
    takes: Kind | None = None
    nested: bool = False


DATA = Plain()
"""A type or constant that is only mentioned."""


def words(text: str) -> frozenset[str]:
    """A table of names, as prose."""
    return frozenset(text.split())
