"""JSON that is too large to be held: walked from its beginning to its end, a window of it at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from modelcar.errors import InvalidDocument
from modelcar.files import ReadAt

__all__ = ["JsonPull"]

_WINDOW: Final = 1 << 20  # bytes
_MOST_SCALAR: Final = 64 << 10  # bytes of a string or number that is wanted
_MOST_NAMES: Final = 1000  # of an object that is walked
_DEEPEST: Final = 64
_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_REST_OF_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SCALAR: Final = re.compile(rb'"%b"|[-+.0-9A-Za-z]++' % _REST_OF_STRING.pattern, re.DOTALL)
# So many strings at once: each costs memory until all have matched. Not possessive: tests/unit/test_expressions.py.
_FLAT: Final = re.compile(
    rb'[^"\[\]{}]*+(?:"%b"[^"\[\]{}]*+){0,1000}' % _REST_OF_STRING.pattern,
    re.DOTALL,
)
_SMALL_OBJECT: Final = re.compile(rb"\{[^\[\]{}]{0,4096}+\}")


class JsonPull:
    """Whoever walks says what they expect and takes each value, or skips it; skipped values are not checked in full.

    Every method raises `InvalidDocument` where that is not what comes, or where there are more than `most` objects,
    arrays and elements.

    Args:
        what: it is called so in errors.
    """

    def __init__(self, read_at: ReadAt, offset: int, size: int, *, what: str, most: int) -> None:
        self._read_at = read_at
        self._next, self._end = offset, offset + size
        self._offset = offset
        self._window, self._at = b"", 0
        self._what = what
        self._left = most

    def members(self) -> Iterator[str]:
        """The names in an object, whose values have to be taken in turn."""
        self._take(b"{")
        names: set[str] = set()
        if self._peek() != b"}":
            while True:
                name = self.scalar()
                if not isinstance(name, str) or name in names or len(names) == _MOST_NAMES:
                    raise self._wrong("has a name that is none, is there twice, or is one too many")
                names.add(name)
                self._take(b":")
                yield name
                if self._peek() != b",":
                    break
                self._take(b",")
        self._take(b"}")

    def elements(self) -> Iterator[None]:
        """Once for each element of an array, which has to be taken in turn."""
        self._take(b"[")
        if self._peek() != b"]":
            while True:
                self._count()
                yield
                if self._peek() != b",":
                    break
                self._take(b",")
        self._take(b"]")

    def scalar(self) -> Any:
        """A string, number, boolean or null."""
        self._peek()
        found = _SCALAR.match(self._window, self._at)
        while (found is None or found.end() == len(self._window)) and self._unread < _MOST_SCALAR and self._fill():
            found = _SCALAR.match(self._window, self._at)
        if found is None or len(found[0]) > _MOST_SCALAR:
            raise self._wrong("holds something else than a name, a string or a number")
        value = self._loaded(found[0])
        self._at = found.end()
        return value

    def record(self, names: frozenset[str]) -> dict[str, Any]:
        """An object whose members of these names are scalars; others are skipped."""
        self._peek()
        if self._unread < _MOST_SCALAR:
            self._fill()
        if (small := _SMALL_OBJECT.match(self._window, self._at)) is not None:
            value = self._loaded(small[0])
            self._at = small.end()
            return {name: value[name] for name in names & value.keys()}
        found = {}
        for name in self.members():
            if name in names:
                found[name] = self.scalar()
            else:
                self.skip()
        return found

    def skip(self) -> None:
        """Any value."""
        if (first := self._peek()) not in (b"{", b"["):
            if first == b'"':
                self._skip_string()
            else:
                self.scalar()
            return
        depth = 0
        while True:
            found = _FLAT.match(self._window, self._at)
            self._at = found.end() if found is not None else self._at
            match self._peek():
                case b'"':  # it goes on beyond the window
                    self._skip_string()
                    continue
                case b"{" | b"[":
                    self._count()
                    depth += 1
                case b"}" | b"]":
                    depth -= 1
                case b"":
                    raise self._wrong("ends too early")
                case _:
                    continue
            self._at += 1
            if depth == 0:
                return
            if depth > _DEEPEST:
                raise self._wrong("is nested too deeply")

    def end(self) -> None:
        """Nothing follows."""
        if self._peek():
            raise self._wrong("goes on after its end")

    @property
    def _unread(self) -> int:
        return len(self._window) - self._at

    def _skip_string(self) -> None:
        self._at += 1
        while True:
            found = _REST_OF_STRING.match(self._window, self._at)
            self._at = found.end() if found is not None else self._at
            if self._unread and self._window[self._at] == 0x22:
                self._at += 1
                return
            if not self._fill():
                raise self._wrong("ends within a string")

    def _peek(self) -> bytes:
        """The next byte that is no space; nothing at the end."""
        while True:
            space = _SPACE.match(self._window, self._at)
            self._at = space.end() if space is not None else self._at
            if self._unread:
                return self._window[self._at : self._at + 1]
            if not self._fill():
                return b""

    def _take(self, byte: bytes) -> None:
        if self._peek() != byte:
            raise self._wrong(f"lacks a {byte.decode()!r}")
        self._at += 1

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._wrong("has more objects and arrays than are read")

    def _fill(self) -> bool:
        """Read on; `False` at the end."""
        if self._next >= self._end:
            return False
        more = self._read_at(self._next, min(_WINDOW, self._end - self._next))
        if not more:
            raise self._wrong("is cut short")
        self._window, self._at = self._window[self._at :] + more, 0
        self._next += len(more)
        return True

    def _loaded(self, token: bytes) -> Any:
        def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            if len(found := dict(pairs)) != len(pairs):
                raise self._wrong("has a name twice in one object")
            return found

        try:
            value = json.loads(token.decode(), object_pairs_hook=no_duplicates)
            if b"\\u" in token:
                json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair stands for no character
        except ValueError:
            raise self._wrong("is not JSON") from None
        return value

    def _wrong(self, how: str) -> InvalidDocument:
        return InvalidDocument(f"{self._what} {how}, at byte {self._next - self._unread - self._offset}")
