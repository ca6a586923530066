"""A strict JSON cursor for documents of a known shape.

It never builds a tree, so what a document costs in memory is what its reader keeps of it. Numbers are non-negative
64-bit integers; texts are valid UTF-8 without lone surrogates. Everything else that JSON allows is a `JsonError`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["JsonCursor", "JsonError"]

_U64_MAX = 2**64 - 1
_SPACE = re.compile(rb"[ \t\n\r]*+")
_STRING = re.compile(rb'"[^"\\\x00-\x1f]*+(?:\\["\\/bfnrtu][^"\\\x00-\x1f]*+)*+"')
_INTEGER = re.compile(rb"(?:0|[1-9][0-9]{0,19}+)(?![0-9.eE])")


class JsonError(ValueError):
    """`str(e)` names what was expected and the offset in bytes."""


class JsonCursor:
    """A position in `text`. Every method skips white space, reads one thing and stands behind it."""

    __slots__ = ("_pos", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._pos = 0

    def rest(self) -> bytes:
        """Whatever has not been read."""
        return self._text[self._pos :]

    def take(self, pattern: re.Pattern[bytes]) -> tuple[bytes, ...] | None:
        """The groups of `pattern` if it matches here, and step over it; a short cut for what is written all alike."""
        self._skip_space()
        match = pattern.match(self._text, self._pos)
        if match is None:
            return None
        self._pos = match.end()
        return match.groups()

    def string(self) -> str:
        self._skip_space()
        match = _STRING.match(self._text, self._pos)
        if match is None:
            raise self._error("a text")
        token = match.group()
        try:
            text = json.loads(token) if b"\\" in token else token[1:-1].decode()
            text.encode()
        except ValueError:
            raise self._error("a text in valid UTF-8") from None
        self._pos = match.end()
        return str(text)

    def integer(self) -> int:
        self._skip_space()
        match = _INTEGER.match(self._text, self._pos)
        if match is None or (value := int(match.group())) > _U64_MAX:
            raise self._error("a non-negative 64-bit integer")
        self._pos = match.end()
        return value

    def integers(self, limit: int) -> tuple[int, ...]:
        """An array of at most `limit` integers."""
        values: list[int] = []
        self._take(b"[", "an array")
        if self._take_if(b"]"):
            return ()
        while True:
            values.append(self.integer())
            if len(values) > limit:
                raise self._error(f"at most {limit} numbers")
            if self._take_if(b"]"):
                return tuple(values)
            self._take(b",", "',' or ']'")

    def members(self) -> Iterator[str]:
        """The keys of an object, one by one; after each the caller reads its value before going on."""
        self._take(b"{", "an object")
        if self._take_if(b"}"):
            return
        while True:
            key = self.string()
            self._take(b":", "':'")
            yield key
            if self._take_if(b"}"):
                return
            self._take(b",", "',' or '}'")

    def _skip_space(self) -> None:
        match = _SPACE.match(self._text, self._pos)
        if match is not None:  # it always matches, possibly nothing
            self._pos = match.end()

    def _take_if(self, byte: bytes) -> bool:
        self._skip_space()
        if self._text[self._pos : self._pos + 1] != byte:
            return False
        self._pos += 1
        return True

    def _take(self, byte: bytes, expected: str) -> None:
        if not self._take_if(byte):
            raise self._error(expected)

    def _error(self, expected: str) -> JsonError:
        return JsonError(f"{expected} was expected at byte {self._pos}")
