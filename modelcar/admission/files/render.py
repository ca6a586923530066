"""New values as lines of YAML, in the style of the file that they come into."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelcar.admission.files.meaning import is_plain

__all__ = ["Style", "entry", "inline", "item"]

_BARE: Final = re.compile(r"-{0,2}[A-Za-z0-9/._][A-Za-z0-9/._@+-]*(?:[:=][A-Za-z0-9/._@+-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Columns by which a mapping in a mapping is indented, and a list in a mapping."""

    mapping: int = 2
    sequence: int = 2


def inline(value: Any) -> str:
    """On one line."""
    if isinstance(value, str):
        if _BARE.fullmatch(value) and is_plain(value):
            return value
        if '"' in value and "'" not in value and value.isprintable():
            return f"'{value}'"
        return json.dumps(value, ensure_ascii=not value.isprintable())
    return json.dumps(value, ensure_ascii=False)


def entry(key: str, value: Any, style: Style) -> list[str]:
    """`key: value`, at column 0."""
    name = inline(key)
    if isinstance(value, str) and _is_text(value):
        chomping = "" if value.endswith("\n") else "-"
        return [f"{name}: |{chomping}", *_indented(value.removesuffix("\n").split("\n"), style.mapping)]
    if isinstance(value, Mapping) and value:
        return [f"{name}:", *_indented(_mapping(value, style), style.mapping)]
    if isinstance(value, list) and value:
        return [f"{name}:", *_indented([line for part in value for line in item(part, style)], style.sequence)]
    return [f"{name}: {inline(value)}"]


def item(value: Any, style: Style) -> list[str]:
    """`- value`, at column 0."""
    if isinstance(value, str) and _is_text(value):
        chomping = "" if value.endswith("\n") else "-"
        return [f"- |{chomping}", *_indented(value.removesuffix("\n").split("\n"), 2)]
    if isinstance(value, Mapping) and value:
        lines = _mapping(value, style)
    elif isinstance(value, list) and value:
        lines = [line for part in value for line in item(part, style)]
    else:
        lines = [inline(value)]
    return [f"- {lines[0]}", *_indented(lines[1:], 2)]


def _mapping(value: Mapping[str, Any], style: Style) -> list[str]:
    return [line for key, inner in value.items() for line in entry(key, inner, style)]


def _indented(lines: list[str], columns: int) -> list[str]:
    return [" " * columns + line if line else line for line in lines]


def _is_text(value: str) -> bool:
    """Whether it is best read as the lines that it is."""
    lines = value.removesuffix("\n").split("\n")
    return (
        len(lines) > 1
        and bool(lines[0])
        and lines[0][0] != " "
        and bool(lines[-1])
        and all(line.replace("\t", " ").isprintable() and line == line.rstrip() for line in lines)
    )
