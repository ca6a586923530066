"""JSON merge patch (RFC 7386), and as much of JSON patch (RFC 6902) as a cluster in memory is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from modelcar.errors import InvalidObject

__all__ = ["json_patched", "merged", "replacing"]


def merged(value: Any, changes: Any) -> Any:
    """A new value: mappings are merged, `None` removes, everything else replaces."""
    if not isinstance(changes, Mapping):
        return deepcopy(changes)
    result = dict(value) if isinstance(value, Mapping) else {}
    for key, change in changes.items():
        if change is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), change)
    return result


def replacing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that makes `old` into `new` and leaves nothing of it behind."""
    changes: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    for key, value in new.items():
        before = old.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        changes[key] = replacing(before, value) if both else value  # type: ignore[arg-type]  # `both` says that they are mappings
    return changes


def json_patched(value: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """A new value after `add`, `replace`, `remove` and `test`. Raises `InvalidObject`."""
    result = {"": deepcopy(value)}
    for operation in operations:
        path = str(operation.get("path"))
        names = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")]
        try:
            parent: Any = result
            for part in names[:-1]:
                parent = parent[int(part)] if isinstance(parent, list) else parent[part]
            _apply(parent, names[-1], str(operation.get("op")), operation.get("value"))
        except (KeyError, IndexError, ValueError, TypeError):
            raise InvalidObject(f"the patch cannot be applied at {path!r}", status=422, reason="Invalid") from None
    return result[""]


def _apply(parent: Any, name: str, op: str, value: Any) -> None:
    if isinstance(parent, list) and op == "add":
        parent.insert(len(parent) if name == "-" else int(name), deepcopy(value))
        return
    if isinstance(parent, list) and op == "replace":
        parent[int(name)] = deepcopy(value)
        return
    key: Any = int(name) if isinstance(parent, list) else name
    match op:
        case "add":
            parent[key] = deepcopy(value)
        case "replace":
            del parent[key]  # it must be there
            parent[key] = deepcopy(value)
        case "remove":
            del parent[key]
        case "test":
            if parent[key] != value:
                raise ValueError(name)
        case _:
            raise ValueError(op)
