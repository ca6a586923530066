"""Text as bytes: whether it is UTF-8, and what in it a terminal would take for a command."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Final

from modelcar.scanning.filescan import FileScan, Malformed
from modelcar.scanning.findings import Rule, Severity

__all__ = ["ESCAPES", "decoded", "inspected"]

ESCAPES: Final = Rule(
    id="text.escape-sequences",
    severity=Severity.NOTE,
    title="a text with escape sequences for terminals",
    why="Shown in a terminal it can hide or replace what is on the screen.",
    fix="Open it in an editor; have the sequences removed.",
)


def decoded(data: bytes) -> str:
    """The text that `data` is, without a mark of its byte order.

    Raises:
        Malformed: it is not UTF-8, or holds a zero byte.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise Malformed("it is not UTF-8", e.start) from None
    if "\0" in text:
        raise Malformed("a zero byte in a text", data.index(0))
    return text


def inspected(scan: FileScan) -> Iterator[bytes]:
    """The file piece by piece, each checked to be text before it is handed out.

    Raises:
        Malformed: it is not UTF-8, or holds a zero byte.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, escaped = 0, False
    for piece in scan.content.pieces():
        scan.budget.check_time()
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(piece, final=offset + len(piece) >= scan.size)
        except UnicodeDecodeError as e:
            raise Malformed("it is not UTF-8", offset - pending + e.start) from None
        if (zero := piece.find(0)) >= 0:
            raise Malformed("a zero byte in a text", offset + zero)
        if not escaped and (escape := piece.find(0x1B)) >= 0:
            escaped = True
            scan.found(ESCAPES, offset=offset + escape)
        yield piece
        offset += len(piece)
    if offset < scan.size:
        raise Malformed(f"it ends at byte {offset}, earlier than a moment ago", offset)
