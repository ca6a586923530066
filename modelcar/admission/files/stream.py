"""A file into documents, and back: joined they are the same characters again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Document", "split"]

# A line that begins like this ends a document wherever it stands: YAML allows it within no scalar.
_MARKER: Final = re.compile(r"^(?:---|\.\.\.)(?=[ \t\r\n]|\Z)", re.MULTILINE)
_NOTHING: Final = re.compile(r"(?:[ \t]*(?:#[^\r\n]*)?(?:\r\n|[\r\n]|\Z))*")
_DECODER: Final = json.JSONDecoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document. `head` is the marker before it, `line` where `body` begins, from 1."""

    head: str
    body: str
    line: int

    @property
    def is_empty(self) -> bool:
        """Whether it holds comments and directives alone."""
        return all(line[:1] == "%" or _NOTHING.fullmatch(line) for line in self.body.splitlines())


def split(text: str) -> list[Document]:
    """The documents of a file, YAML or JSON."""
    documents: list[Document] = []
    start, head = 0, ""
    if text.startswith("\ufeff"):
        start, head = 1, "\ufeff"
    for marker in _MARKER.finditer(text, start):
        documents += _bodies(text, head, start, marker.start())
        head, start = marker[0], marker.end()
    return [*documents, *_bodies(text, head, start, len(text))]


def _bodies(text: str, head: str, start: int, end: int) -> Iterator[Document]:
    """What lies between two markers: one document, or several of JSON one after the other."""
    line = text.count("\n", 0, start) + 1
    body = text[start:end]
    ends = _ends_of_json(body)
    for begin, stop in zip([0, *ends], [*ends, len(body)], strict=True):
        yield Document(head=head, body=body[begin:stop], line=line + body.count("\n", 0, begin))
        head = ""


def _ends_of_json(body: str) -> list[int]:
    """Where JSON documents end that another one follows."""
    ends: list[int] = []
    at = len(body) - len(body.lstrip())
    while body.startswith("{", at):
        try:
            _, at = _DECODER.raw_decode(body, at)
        except (ValueError, RecursionError):
            return []
        rest = len(body) - len(body[at:].lstrip())
        if rest < len(body):
            ends.append(at)
        at = rest
    return ends if at == len(body) else []
