"""From a YAML document to settings: nothing is guessed, and every problem is told at once.

The target's type decides how a scalar is read, so `1.10` is text where text is wanted, and `22:00` a time of day.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping
from datetime import time
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from modelcar.errors import ModelcarError, StorageError, UsageError
from modelcar.serving.config.shape import Setting, is_settings, optional, settings_of
from modelcar.units import READERS, Unit, read_clock

__all__ = ["load", "load_file"]

T = TypeVar("T")

_MAX_BYTES: Final = 1 << 20
_MAX_VALUES: Final = 100_000  # or a value a character: aliases make gigabytes of a few lines
_MAX_PROBLEMS: Final = 50  # more help nobody
_LARGEST: Final = {Unit.SECONDS: 10**9, Unit.BYTES: 1 << 60, Unit.RATE: 1 << 60, Unit.NONE: 10**9}
"""What clocks, files and pools of threads can do is not far above."""
_BOOLS: Final = {"true": True, "false": False}
_NULLS: Final = ("", "~", "null")
_WORDS: Final[dict[Any, str]] = {
    bool: "true or false",
    Path: "a path",
    time: 'a time of day such as "22:00"',
    str: "text",
}


class _Bad(Exception):
    """A value that is not what is wanted; its problem is noted already."""


class _Enough(Exception):
    """There is no use in reading on."""


def load_file(path: Path, cls: type[T]) -> T:
    """The settings in a file.

    Raises:
        StorageError: it cannot be read.
        UsageError: it is not a configuration; `reasons` are all the problems, each with its line and path.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as e:
        raise StorageError(f"cannot read {path}: {e.strerror}") from None
    if len(raw) > _MAX_BYTES:
        raise UsageError(f"{path} has more than {_MAX_BYTES} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None
    return load(text, cls, name=str(path))


def load(text: str, cls: type[T], *, name: str = "configuration") -> T:
    """The settings in a document; raises `UsageError` as `load_file` does."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as e:
        raise UsageError(_not_yaml(e, text, name)) from None
    reader = _Reader(name, most=max(_MAX_VALUES, len(text)))
    value, at_least = None, ""
    try:
        value = reader.settings(node or MappingNode("", []), cls, "")
    except _Bad:
        pass
    except _Enough:
        at_least = ", at least"
    if reader.problems or value is None:
        first, *others = reader.problems
        more = f" (and {len(others)} more{at_least})" if others else ""
        raise UsageError(f"{first}{more}", reasons=tuple(reader.problems))
    return typing.cast("T", value)


def _not_yaml(error: yaml.YAMLError | RecursionError, text: str, name: str) -> str:
    if isinstance(error, RecursionError):
        return f"{name} is not YAML: it is nested too deeply"
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{name}:{line} is not YAML: it has the character {text[error.position]!a}, which stands in no text"
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "it cannot be read"
    where = f":{mark.line + 1}" if mark else ""
    return f"{name}{where} is not YAML: {problem.removeprefix('but ')}"


class _Reader:
    """One document of at most `most` values; `problems` are for people."""

    def __init__(self, name: str, *, most: int) -> None:
        self.problems: list[str] = []
        self._name = name
        self._left = most

    def settings(self, node: Node, cls: type, path: str) -> Any:
        if not isinstance(node, MappingNode):
            raise self._bad(node, path, f"is a mapping of settings, not {_what(node)}")
        before = len(self.problems)
        known = {setting.name: setting for setting in settings_of(cls)}
        values: dict[str, Any] = {}
        for key, child, child_path in self._members(node, path):
            if key not in known:
                self._unknown(child, child_path, key, known)
                continue
            try:
                values[key] = self._value(child, known[key], child_path)
            except _Bad:
                continue
        written = {key for key, _, _ in self._members(node, path, silent=True)}
        for setting in known.values():
            if setting.required and setting.name not in written:
                self._bad(node, _join(path, setting.name), "is missing")
        if len(self.problems) > before:
            raise _Bad
        try:
            return cls(**values)
        except ModelcarError as e:
            raise self._bad(node, path, str(e)) from None

    def _value(self, node: Node, setting: Setting, path: str) -> Any:
        if isinstance(node, ScalarNode) and node.style is None and node.value in _NULLS:
            if setting.nullable:
                return None
            raise self._bad(node, path, "has no value")
        return self._read(node, setting.kind, setting.unit, path)

    def _read(self, node: Node, kind: Any, unit: Unit, path: str) -> Any:
        self._left -= 1
        if self._left < 0:
            self._bad(node, path, "is one value too many: aliases make more of the document than it has characters")
            raise _Enough
        if is_settings(kind):
            return self.settings(node, kind, path)
        origin = typing.get_origin(kind)
        if origin is tuple:
            return self._items(node, typing.get_args(kind)[0], unit, path)
        if origin is not None and issubclass(origin, Mapping):
            return self._mapping(node, typing.get_args(kind)[1], unit, path)
        if not isinstance(node, ScalarNode):
            raise self._bad(node, path, f"is {_wanted(kind, unit)}, not {_what(node)}")
        if kind is Path and node.value.startswith("~"):  # a folder of that name would be made
            raise self._bad(node, path, f"is a path written out in full, not {node.value[:60]!r}: no shell reads it")
        value = _scalar(node, kind, unit)
        if value is None:
            raise self._bad(node, path, f"is {_wanted(kind, unit)}, not {node.value[:60]!r}")
        if kind in (int, float) and abs(value) > _LARGEST[unit]:
            raise self._bad(node, path, f"is at most {_LARGEST[unit]}, not {node.value[:60]}")
        return value

    def _items(self, node: Node, kind: Any, unit: Unit, path: str) -> tuple[Any, ...]:
        if not isinstance(node, SequenceNode):
            raise self._bad(node, path, f"is a list, not {_what(node)}")
        inner, _ = optional(kind)
        values = []
        bad = False
        for number, item in enumerate(node.value):
            try:
                values.append(self._read(item, inner, unit, f"{path}[{number}]"))
            except _Bad:
                bad = True
        if bad:
            raise _Bad
        return tuple(values)

    def _mapping(self, node: Node, kind: Any, unit: Unit, path: str) -> dict[str, Any]:
        if not isinstance(node, MappingNode):
            raise self._bad(node, path, f"is a mapping, not {_what(node)}")
        before = len(self.problems)
        values: dict[str, Any] = {}
        for key, child, child_path in self._members(node, path):
            try:
                values[key] = self._read(child, kind, unit, child_path)
            except _Bad:
                continue
        if len(self.problems) > before:
            raise _Bad
        return values

    def _members(self, node: MappingNode, path: str, *, silent: bool = False) -> list[tuple[str, Node, str]]:
        members: dict[str, tuple[str, Node, str]] = {}
        for key, child in node.value:
            if not isinstance(key, ScalarNode):
                if not silent:
                    self._bad(key, path, "has a key that is not a word")
            elif key.value in members:
                if not silent:
                    self._bad(key, _join(path, key.value), "stands there twice")
            else:
                members[key.value] = (key.value, child, _join(path, key.value))
        return list(members.values())

    def _unknown(self, node: Node, path: str, key: str, known: Mapping[str, Setting]) -> None:
        near = difflib.get_close_matches(key.replace("-", "_").lower(), known, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(known))}"
        self._bad(node, path, f"is not a setting{hint}")

    def _bad(self, node: Node, path: str, problem: str) -> _Bad:
        line = f":{node.start_mark.line + 1}" if node.start_mark else ""
        self.problems.append(f"{self._name}{line}: {path or 'the document'} {problem}")
        if len(self.problems) >= _MAX_PROBLEMS:
            raise _Enough
        return _Bad()


def _join(path: str, key: str) -> str:
    word = key if key.isprintable() and 0 < len(key) <= 60 and " " not in key else repr(key[:60])
    return f"{path}.{word}" if path else word


def _scalar(node: ScalarNode, kind: Any, unit: Unit) -> Any:
    """The value of a scalar as `kind`; `None` if it is none."""
    text: str = node.value
    if kind is str:
        return text
    if kind is Path:
        return Path(text) if text and "\0" not in text else None
    if kind is time:
        return read_clock(text)
    if kind is bool:
        return _BOOLS.get(text)
    if kind in (int, float):
        return _number(text, kind, unit)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next((member for member in kind if str(member.value) == text), None)
    raise TypeError(f"{kind} is not a type of a setting")


def _number(text: str, kind: type[int | float], unit: Unit) -> int | float | None:
    try:
        value = kind(text) if text.isascii() and "_" not in text and text == text.strip() else None
    except ValueError:
        value = None
    if value is None and unit in READERS:
        value = READERS[unit](text)
        if value is not None:
            return kind(value) if kind(value) == value else None
    return value if value is None or isfinite(value) else None


def _wanted(kind: Any, unit: Unit) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(str(member.value) for member in kind)
    if kind in (int, float):
        if unit is not Unit.NONE:
            return str(unit.value)
        return "a whole number" if kind is int else "a number"
    return _WORDS[kind]


def _what(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, SequenceNode) else repr(node.value[:60])
