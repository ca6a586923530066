"""Tables of names, as prose."""

from __future__ import annotations

__all__ = ["words"]


def words(text: str) -> frozenset[str]:
    """The words of `text`, which white space divides."""
    return frozenset(text.split())
