"""YAML as Kubernetes reads it, less whatever two readers could see differently.

Refused: anchors and aliases (a few lines of them expand to gigabytes), explicit tags, merge keys, a key twice in one
mapping, keys that are not text, and more nesting or bytes than a policy ever needs. Only `null`, `true`, `false` and
decimal numbers are typed; every other plain scalar stays text (`no` is a country, `1e3` a number).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from modelcar.errors import UsageError

__all__ = ["MAX_BYTES", "parse_documents"]

MAX_BYTES: Final = 1 << 20  # of one file; etcd takes no larger object either
_MAX_DEPTH: Final = 32
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT: Final = re.compile(r"[-+]?[0-9]{1,18}(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,2})?")
_CONSTANTS: Final = {"null": None, "Null": None, "NULL": None, "~": None, "": None} | {
    text: value for value in (True, False) for text in (str(value), str(value).lower(), str(value).upper())
}

Events = Iterator[yaml.Event]


def parse_documents(raw: bytes, where: str) -> list[Any]:
    """The documents of a YAML (or JSON) file; empty ones are left out.

    Raises:
        UsageError: naming `where` and the line.
    """
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{where} has {len(raw)} bytes; a policy file has at most {MAX_BYTES}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{where} is not UTF-8") from None
    try:
        return [value for value in _documents(yaml.parse(text, Loader=_LOADER), where) if value is not None]
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise UsageError(f"{where}{line}: not YAML: {getattr(e, 'problem', None) or 'unreadable characters'}") from None


def _documents(events: Events, where: str) -> Iterator[Any]:
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            if event.tags:
                raise UsageError(f"{_at(event, where)}: YAML tags are not read")
            yield _value(next(events), events, where, 0)


def _value(event: yaml.Event, events: Events, where: str, depth: int) -> Any:
    at = _at(event, where)
    if depth > _MAX_DEPTH:
        raise UsageError(f"{at}: nested more than {_MAX_DEPTH} deep")
    if getattr(event, "anchor", None) is not None:
        raise UsageError(f"{at}: YAML anchors and aliases are not read", hint="write the value out where it is used")
    if getattr(event, "tag", None) is not None:
        raise UsageError(f"{at}: YAML tags are not read")
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event)
    if isinstance(event, yaml.SequenceStartEvent):
        return list(_items(events, where, depth))
    return _mapping(events, where, depth)


def _items(events: Events, where: str, depth: int) -> Iterator[Any]:
    while not isinstance(event := next(events), yaml.SequenceEndEvent):
        yield _value(event, events, where, depth + 1)


def _mapping(events: Events, where: str, depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        at = _at(event, where)
        key = _value(event, events, where, depth + 1)
        if not isinstance(key, str):
            raise UsageError(f"{at}: a key is not text")
        if key in result:
            raise UsageError(f"{at}: {key!r} is there twice")
        result[key] = _value(next(events), events, where, depth + 1)
    return result


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if event.style:  # quoted or a block; plain is None or empty, by parser
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _at(event: yaml.Event, where: str) -> str:
    return f"{where} line {event.start_mark.line + 1}" if event.start_mark else where
