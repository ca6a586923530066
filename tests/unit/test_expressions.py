"""Regular expressions that every supported Python matches alike.

Before 3.11.5 (https://github.com/python/cpython/issues/106052) a possessive repeat of a group goes on from the wrong
place where an attempt at the group fails that could have tried something else: Debian 12 has such a Python.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PARSER: Final = import_module("re._parser")
ONE: Final = frozenset({"ANY", "IN", "LITERAL", "NOT_LITERAL"})  # character, whatever it is


def expressions() -> Iterator[tuple[str, str | bytes]]:
    for package in ("modelcar", "registry_shim"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text()
            if "re.compile" in text:
                for node in ast.walk(ast.parse(text)):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def is_firm(item: tuple[Any, Any]) -> bool:
    """Whether it matches in one way or not at all: a character, or a possessive repeat of one."""
    kind, value = str(item[0]), item[1]
    if kind == "POSSESSIVE_REPEAT":
        return len(value[2]) == 1 and str(value[2][0][0]) in ONE
    return kind in ONE


def loose(parsed: Any) -> Iterator[Any]:
    """Possessive repeats of what may match in several ways."""
    for kind, value in parsed:
        parts = [value] if isinstance(value, PARSER.SubPattern) else []
        if isinstance(value, tuple):
            parts = [part for part in value if isinstance(part, PARSER.SubPattern)]
            parts += [branch for part in value if isinstance(part, list) for branch in part]
        if str(kind) == "POSSESSIVE_REPEAT" and not all(is_firm(item) for item in value[2]):
            yield value
        for part in parts:
            if isinstance(part, PARSER.SubPattern):
                yield from loose(part)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (rb'"[^"]*+"', 0),
        (rb"[^a]*+(?:\\.[^a]*+)*+", 0),
        (rb"(?:a|bc)*+", 1),
        (rb"x(?:ab*)++|y", 1),
        (rb"(?:a(?:b)*+(?:cd){0,3}+)*+", 1),
        (rb"(?:(?:a|bb){2}+)*", 1),
        (rb"(?>(?:a|bc)*)", 0),
    ],
)
def test_what_is_looked_for(text: bytes, found: int) -> None:
    assert len(list(loose(PARSER.parse(text)))) == found


def test_no_group_that_may_match_in_several_ways_is_repeated_possessively() -> None:
    seen, wrong = 0, []
    for where, text in expressions():
        if re.search(r"\)[*+?]\+|\}\+", text if isinstance(text, str) else text.decode("latin-1")):
            try:
                with warnings.catch_warnings(action="ignore"):
                    parsed = PARSER.parse(text)
            except re.error:  # a part of one, or something else
                continue
            seen += 1
            wrong += [where for _ in loose(parsed)]
    assert seen
    assert not wrong
