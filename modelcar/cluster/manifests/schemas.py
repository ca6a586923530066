"""Structural schemas, written shortly."""

from __future__ import annotations

from typing import Any

__all__ = ["Schema", "array", "choice", "count", "integer", "mapping", "record", "text", "yes_or_no"]

Schema = dict[str, Any]


def record(what: str, properties: dict[str, Schema], *, required: tuple[str, ...] = (), **more: Any) -> Schema:
    """An object with these fields; others are pruned."""
    need = {"required": list(required)} if required else {}
    return {"type": "object", "description": what, "properties": properties, **need, **more}


def text(what: str, *, most: int = 256, **more: Any) -> Schema:
    return {"type": "string", "description": what, "maxLength": most, **more}


def choice(what: str, *values: str) -> Schema:
    return {"type": "string", "description": what, "enum": list(values)}


def integer(what: str, **more: Any) -> Schema:
    return {"type": "integer", "format": "int64", "description": what, **more}


def count(what: str) -> Schema:
    """Bytes, or how many."""
    return integer(what, minimum=0)


def yes_or_no(what: str, **more: Any) -> Schema:
    return {"type": "boolean", "description": what, **more}


def array(what: str, items: Schema, *, most: int, key: str | None = None) -> Schema:
    """A list; with `key` each entry has another one."""
    kind = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]} if key else {}
    return {"type": "array", "description": what, "items": items, "maxItems": most, **kind}


def mapping(what: str, *, most: int) -> Schema:
    """Texts by names."""
    values = {"type": "string", "maxLength": 63}
    return {"type": "object", "description": what, "additionalProperties": values, "maxProperties": most}
