"""Putting what we want into lists of named things, so that doing it twice changes nothing.

What is there already under our names is changed where it stands: an API server has filled in defaults meanwhile, and
other webhooks their own.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Object", "overlaid", "upsert"]

Object = dict[str, Any]


def overlaid(existing: Object, wanted: Object) -> Object:
    """`existing` with everything that is in `wanted`: objects are merged, everything else replaced."""
    merged = dict(existing)
    for key, value in wanted.items():
        there = merged.get(key)
        merged[key] = overlaid(there, value) if isinstance(there, dict) and isinstance(value, dict) and value else value
    return merged


def upsert(things: list[Object], wanted: Object) -> None:
    """Put `wanted` into `things`: over the one of the same name, else at the end."""
    for number, thing in enumerate(things):
        if thing["name"] == wanted["name"]:
            things[number] = overlaid(thing, wanted)
            return
    things.append(wanted)
