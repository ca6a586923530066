"""Reading the beginning of a file whose claims about itself are not believed yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelcar.errors import MalformedFile, SourceChanged

if TYPE_CHECKING:
    from modelcar.files import ReadAt

__all__ = ["malformed", "printable", "read_exactly"]


def read_exactly(read_at: ReadAt, offset: int, length: int, path: str) -> bytes:
    """`length` bytes from `offset`. The caller has checked `length` against the file's size and a limit.

    Raises:
        SourceChanged: the file ends earlier than it did a moment ago.
    """
    data = read_at(offset, length)
    if len(data) < length:
        raise SourceChanged(f"{path} became shorter while it was read", hint="try again once nothing writes to it")
    return data


def printable(text: str, limit: int = 80) -> str:
    """`text` for an error message: one line, no control characters, at most `limit` characters, in quotes."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: limit + 1])
    return f"'{shown}'" if len(shown) <= limit else f"'{shown[: limit - 1]}…'"


def malformed(path: str, problem: str, *, hint: str) -> MalformedFile:
    """The error for the file at `path`; `problem` continues the sentence that begins with its name."""
    return MalformedFile(f"{printable(path, 400)[1:-1]}: {problem}", hint=hint)
