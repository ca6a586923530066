"""JSON patches (RFC 6902): what leads from one pod to another, and the same bytes every time.

Lists of named things (containers, volumes, mounts) are aligned by their names, so that one more container is one
operation wherever it stands; other lists by what both have at their ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["patch_of"]

Operation = dict[str, Any]


def patch_of(before: Any, after: Any) -> list[Operation]:
    """The operations that make `after` of `before`, both JSON values; empty if they are equal.

    Raises:
        RecursionError: both are nested deeper than Python goes, and differ there.
    """
    return list(_value(before, after, ""))


def _value(before: Any, after: Any, path: str) -> Iterator[Operation]:
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _object(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _list(before, after, path)
    elif not _same(before, after):
        yield {"op": "replace", "path": path, "value": after}


def _object(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Operation]:
    for key in sorted(before.keys() | after.keys()):
        at = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
        if key not in after:
            yield {"op": "remove", "path": at}
        elif key not in before:
            yield {"op": "add", "path": at, "value": after[key]}
        else:
            yield from _value(before[key], after[key], at)


def _list(before: list[Any], after: list[Any], path: str) -> Iterator[Operation]:
    old, new = _keys(before), _keys(after)
    kept = [key for key in old if key in new] if old is not None and new is not None else None
    if old is None or new is None or kept != [key for key in new if key in old]:
        yield from _ends(before, after, path)
        return
    for key, number in reversed(old.items()):
        if key not in new:
            yield {"op": "remove", "path": f"{path}/{number}"}
    for number, (key, value) in enumerate(zip(new, after, strict=True)):
        if key in old:
            yield from _value(before[old[key]], value, f"{path}/{number}")
        else:
            yield {"op": "add", "path": f"{path}/{number}", "value": value}


def _keys(things: list[Any]) -> dict[tuple[str, str], int] | None:
    """Names (of mounts with their paths) -> index; `None` if these are not things with a name each."""
    keys: dict[tuple[str, str], int] = {}
    for number, thing in enumerate(things):
        name = thing.get("name") if isinstance(thing, dict) else None
        where = thing.get("mountPath", "") if isinstance(thing, dict) else None
        if not isinstance(name, str) or not isinstance(where, str) or (name, where) in keys:
            return None
        keys[name, where] = number
    return keys


def _ends(before: list[Any], after: list[Any], path: str) -> Iterator[Operation]:
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    both = min(len(old), len(new))
    for offset in range(both):
        yield from _value(old[offset], new[offset], f"{path}/{start + offset}")
    for offset in range(both, len(new)):
        yield {"op": "add", "path": f"{path}/{start + offset}", "value": new[offset]}
    for offset in reversed(range(both, len(old))):
        yield {"op": "remove", "path": f"{path}/{start + offset}"}


def _common(one: list[Any], other: list[Any]) -> int:
    """How many entries both begin with."""
    for number, (left, right) in enumerate(zip(one, other, strict=False)):
        if not _same(left, right):
            return number
    return min(len(one), len(other))


def _same(one: Any, other: Any) -> bool:
    """Whether both are the same JSON: for Python `1 == True`, and `1.0 == 1`."""
    if one is other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)
