"""What a configuration file may hold, for editors and for people: a JSON Schema and a reference page."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator, Mapping
from datetime import time
from enum import Enum
from pathlib import Path
from typing import Any

from modelcar.serving.config.shape import Setting, is_settings, members_of, nested, optional, settings_of
from modelcar.units import Unit

__all__ = ["json_schema", "reference_page"]


def json_schema(cls: type, *, title: str) -> dict[str, Any]:
    """A JSON Schema (2020-12) of what `load` accepts."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **_object(cls)}


def _object(cls: type) -> dict[str, Any]:
    settings = settings_of(cls)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {setting.name: _property(setting) for setting in settings},
        "additionalProperties": False,
    }
    required = [setting.name for setting in settings if setting.required]
    return {**schema, "required": required} if required else schema


def _property(setting: Setting) -> dict[str, Any]:
    schema = _of(setting.kind, setting.unit)
    if setting.nullable:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {"description": setting.doc, **schema} if setting.doc else schema


def _of(kind: Any, unit: Unit) -> dict[str, Any]:
    if is_settings(kind):
        return _object(kind)
    origin = typing.get_origin(kind)
    if origin is tuple:
        return {"type": "array", "items": _of(optional(typing.get_args(kind)[0])[0], unit)}
    if origin is not None:
        return {"type": "object", "additionalProperties": _of(typing.get_args(kind)[1], unit)}
    if issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    simple: dict[Any, dict[str, Any]] = {
        bool: {"type": "boolean"},
        int: {"type": "integer"},
        float: {"type": "number"},
        time: {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
        Path: {"type": "string", "minLength": 1},
        str: {"type": ["string", "number", "boolean"]},
    }
    written = {"type": "string", "pattern": unit.pattern}
    return {"anyOf": [simple[kind], written]} if unit.pattern else simple[kind]


def reference_page(cls: type, *, heading: str, introduction: str) -> str:
    """A Markdown page with a table for each group of settings."""
    parts = [f"# {heading}\n\n{introduction}\n"]
    for path, group in _groups(cls, ""):
        parts.append(f"## {f'`{path}`' if path else 'The document'}\n\n{_first_paragraph(group)}\n")
        parts.append("| setting | is | default | |\n|---|---|---|---|")
        parts += [_row(setting) for setting in settings_of(group)]
        parts.append("")
    return "\n".join(parts)


def _groups(cls: type, path: str) -> Iterator[tuple[str, type]]:
    yield path, cls
    for setting in settings_of(cls):
        listed = "[]" if typing.get_origin(setting.kind) is tuple else ""
        for inner in nested(setting.kind):
            yield from _groups(inner, f"{path}.{setting.name}{listed}".removeprefix("."))


def _row(setting: Setting) -> str:
    doc = " ".join([setting.doc, *_meanings(setting.kind)]).replace("|", "\\|")
    return f"| `{setting.name}` | {_described(setting)} | {_default(setting)} | {doc} |"


def _meanings(kind: Any) -> list[str]:
    """What the values of an enumeration mean, as far as it says so."""
    arguments = typing.get_args(kind)
    kind = arguments[0] if arguments else kind
    if not isinstance(kind, type) or not issubclass(kind, Enum):
        return []
    return [f"`{value}`: {text[0].lower()}{text[1:].removesuffix('.')}." for value, text in members_of(kind) if text]


def _described(setting: Setting) -> str:
    kind = setting.kind
    if typing.get_origin(kind) is tuple:
        item = optional(typing.get_args(kind)[0])[0]
        return f"list of {_word(item, setting.unit)}"
    if isinstance(typing.get_origin(kind), type) and issubclass(typing.get_origin(kind), Mapping):
        return f"mapping to {_word(typing.get_args(kind)[1], setting.unit)}"
    return _word(kind, setting.unit)


def _word(kind: Any, unit: Unit) -> str:
    if is_settings(kind):
        return "group"
    if issubclass(kind, Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    if unit is not Unit.NONE:
        return {Unit.BYTES: "size", Unit.RATE: "rate", Unit.SECONDS: "time"}[unit]
    words = {bool: "`true`, `false`", int: "whole number", float: "number", time: "time of day", Path: "path"}
    return words.get(kind, "text")


def _default(setting: Setting) -> str:
    if setting.required:
        return "required"
    value = setting.default
    if value is None or value == () or dataclasses.is_dataclass(value):
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{_written(value, setting.unit)}`"


def _written(value: Any, unit: Unit) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if unit in (Unit.BYTES, Unit.RATE) and value:
        return _size(value) + ("/s" if unit is Unit.RATE else "")
    if unit is Unit.SECONDS:
        return _time(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _size(value: int) -> str:
    for power, prefix in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if value % 1024**power == 0:
            return f"{value // 1024**power}{prefix}"
    return str(value)


def _time(value: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if value and value % size == 0:
            return f"{value // size:g}{unit}"
    return f"{value:g}s"


def _first_paragraph(cls: type) -> str:
    return " ".join(inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].split())
