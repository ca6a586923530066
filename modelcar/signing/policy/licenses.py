"""SPDX licence expressions, as far as a decision needs them: identifiers joined by AND, OR and parentheses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["LicenseRule", "is_license"]

_TOKEN: Final = re.compile(r"\s*([()]|[A-Za-z0-9.:+-]+)")
_ID: Final = re.compile(r"[A-Za-z0-9.+:-]+( WITH [A-Za-z0-9.-]+)?")
_MAX_LENGTH: Final = 4096
_MAX_DEPTH: Final = 20


def is_license(text: str) -> bool:
    """Whether `text` is written like one licence, with or without an exception."""
    return _ID.fullmatch(text) is not None and text.upper() not in ("AND", "OR", "WITH")


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseRule:
    """A licence is acceptable if it is allowed (or none is listed as allowed) and not denied. Case does not count."""

    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()

    def shortcoming(self, expression: str) -> str | None:
        """Why `expression` cannot be accepted; `None` if it can. Of an OR one side suffices."""
        try:
            accepted = _Parser(expression, self._accepts).result()
        except ValueError:
            return f"the licence {expression[:80]!r} is not an SPDX expression"
        return None if accepted else f"the licence {expression} is not among those allowed"

    def _accepts(self, license_id: str) -> bool:
        folded = license_id.casefold()
        if folded in {each.casefold() for each in self.denied}:
            return False
        return not self.allowed or folded in {each.casefold() for each in self.allowed}


class _Parser:
    """Recursive descent; AND binds closer than OR."""

    def __init__(self, expression: str, accepts: Callable[[str], bool]) -> None:
        self._tokens = list(_tokens(expression))
        self._accepts = accepts

    def result(self) -> bool:
        accepted = self._either(0)
        if self._tokens:
            raise ValueError(self._tokens[0])
        return accepted

    def _either(self, depth: int) -> bool:
        accepted = self._both(depth)
        while self._next_is("OR"):
            accepted = self._both(depth) or accepted
        return accepted

    def _both(self, depth: int) -> bool:
        accepted = self._one(depth)
        while self._next_is("AND"):
            accepted = self._one(depth) and accepted
        return accepted

    def _one(self, depth: int) -> bool:
        if depth > _MAX_DEPTH:
            raise ValueError("too deep")
        if self._next_is("("):
            accepted = self._either(depth + 1)
            if not self._next_is(")"):
                raise ValueError("a parenthesis is left open")
            return accepted
        name = self._identifier()
        if self._next_is("WITH"):
            name = f"{name} WITH {self._identifier()}"
        return self._accepts(name)

    def _identifier(self) -> str:
        if not self._tokens or not is_license(self._tokens[0]):
            raise ValueError("an identifier is missing")
        return self._tokens.pop(0)

    def _next_is(self, token: str) -> bool:
        if self._tokens and self._tokens[0].upper() == token:
            self._tokens.pop(0)
            return True
        return False


def _tokens(expression: str) -> Iterator[str]:
    expression = expression.strip()
    position = 0
    if len(expression) > _MAX_LENGTH:
        raise ValueError("too long")
    while position < len(expression):
        if (match := _TOKEN.match(expression, position)) is None:
            raise ValueError("a character that no expression has")
        yield match[1]
        position = match.end()
