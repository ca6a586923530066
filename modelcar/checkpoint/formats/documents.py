"""Small JSON documents of a checkpoint, read so that none of them can exhaust memory or the stack."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from modelcar.checkpoint.formats.reader import malformed, read_exactly
from modelcar.files import open_unchanged, reading

if TYPE_CHECKING:
    from modelcar.checkpoint.file import CheckpointFile

__all__ = ["MAX_DOCUMENT", "parse_object", "read_bytes", "read_object"]

MAX_DOCUMENT = 64 * 2**20  # bytes; the index of the largest published model has some 10 MB
_MAX_NODES = 2_000_000  # values in a document
_HINT = "download the file again, or mend it"


def read_bytes(file: CheckpointFile, limit: int = MAX_DOCUMENT) -> bytes:
    """The content of `file`, which may have at most `limit` bytes."""
    if file.size > limit:
        raise malformed(file.path, f"has {file.size} bytes; the limit is {limit}", hint="is it what its name says?")
    fd = open_unchanged(file.source, file.stamp)
    try:
        return read_exactly(reading(fd, file.path), 0, file.size, file.path)
    finally:
        os.close(fd)


def read_object(file: CheckpointFile) -> dict[str, Any]:
    """The JSON object that `file` holds.

    Raises:
        MalformedFile: it holds none, or one of unreasonable size or depth.
    """
    return parse_object(read_bytes(file), file.path)


def parse_object(data: bytes, path: str) -> dict[str, Any]:
    """The JSON object that the file at `path` holds, from its content.

    Raises:
        MalformedFile: it holds none, or one of unreasonable size or depth.
    """
    # Each value but the first follows one of these, so this bounds what the decoder can allocate.
    if data.count(b",") + data.count(b"[") + data.count(b"{") > _MAX_NODES:
        raise malformed(path, f"holds more than {_MAX_NODES} values", hint="is it what its name says?")
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise malformed(path, "is nested too deeply", hint=_HINT) from None
    except ValueError as e:
        reason = str(e).partition(": line")[0]
        raise malformed(path, f"is not valid JSON ({reason})", hint=_HINT) from None
    if not isinstance(document, dict):
        raise malformed(path, "holds no JSON object", hint=_HINT)
    return document
