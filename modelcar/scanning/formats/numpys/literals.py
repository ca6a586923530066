"""Python literals as they stand in the headers of arrays: texts, whole numbers, truths, tuples, lists, dictionaries."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Literal", "LiteralError", "parse_literal"]

Literal = object
_TOKEN: Final = re.compile(
    r"""[ ]*(?:
        (?P<text>'[^'\\\n]*'|"[^"\\\n]*")
        |(?P<number>[0-9]{1,20})L?
        |(?P<truth>True|False)
        |(?P<mark>[\[\](){},:])
    )""",
    re.VERBOSE,
)
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}
_MAX_DEPTH: Final = 16


class LiteralError(ValueError):
    """`str(e)` says what is wrong, and where."""


def parse_literal(text: str) -> Literal:
    """The value that `text` is, blanks around it left out.

    Raises:
        LiteralError: it is none of the above, says a key twice, or is nested more than 16 deep.
    """
    parser = _Parser(text)
    value = parser.value(0)
    if text[parser.at :].strip(" "):
        raise LiteralError(f"something follows at character {parser.at}")
    return value


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def value(self, depth: int) -> Literal:
        kind, token = self._next()
        if kind == "text":
            return token[1:-1]
        if kind == "number":
            return int(token)
        if kind == "truth":
            return token.startswith("T")
        if token not in _CLOSING or depth == _MAX_DEPTH:
            raise LiteralError(f"no value, or too deep a one, at character {self.at}")
        return self._collection(token, depth + 1)

    def _collection(self, opening: str, depth: int) -> Literal:
        """Everything up to the mark that closes what `opening` opened."""
        closing = _CLOSING[opening]
        items: list[Literal] = []
        pairs: dict[str, Literal] = {}
        separated = True
        while not self._take(closing):
            if not separated:
                raise LiteralError(f"a comma or {closing} is missing at character {self.at}")
            value = self.value(depth)
            if opening == "{":
                if not isinstance(value, str) or value in pairs or not self._take(":"):
                    raise LiteralError(f"no new key with a value at character {self.at}")
                pairs[value] = self.value(depth)
            else:
                items.append(value)
            separated = self._take(",")
        if opening == "{":
            return pairs
        if opening == "(" and len(items) == 1 and not separated:
            return items[0]  # mere parentheses
        return items if opening == "[" else tuple(items)

    def _next(self) -> tuple[str, str]:
        match = _TOKEN.match(self._text, self.at)
        if match is None:
            raise LiteralError(f"nothing that is allowed stands at character {self.at}")
        self.at = match.end()
        kind = str(match.lastgroup)
        return kind, match[kind]

    def _take(self, mark: str) -> bool:
        match = _TOKEN.match(self._text, self.at)
        if match is None or match["mark"] != mark:
            return False
        self.at = match.end()
        return True
