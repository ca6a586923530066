"""One door to every header."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from modelcar.checkpoint.formats.gguf import read_gguf
from modelcar.checkpoint.formats.reader import malformed
from modelcar.checkpoint.formats.safetensors import read_safetensors
from modelcar.files import open_unchanged, reading

if TYPE_CHECKING:
    from modelcar.checkpoint.file import CheckpointFile
    from modelcar.checkpoint.formats.header import Header
    from modelcar.files import ReadAt

__all__ = ["read_header"]

_READERS = {"safetensors": read_safetensors, "gguf": read_gguf}
_ENDINGS = {".safetensors": "safetensors", ".gguf": "gguf"}


def read_header(file: CheckpointFile, read_at: ReadAt | None = None) -> Header | None:
    """The header of `file`; `None` if its format has none that is read here. No weight is read.

    Args:
        read_at: reads a file that is not here; the others are opened.

    Raises:
        MalformedFile: the header breaks its format's rules, or the file is not what its name says.
        SourceChanged: the file is no longer what it was when the checkpoint was opened.
    """
    promised = _ENDINGS.get(os.path.splitext(file.name.lower())[1])  # noqa: PTH122  # a name, not a path
    if promised is not None and file.format != promised:
        found = f"is a {file.format} file" if file.format else f"is no {promised} file"
        raise malformed(
            file.path,
            f"{found} under the name of a {promised} file",
            hint="download it again, or rename it",
        )
    reader = _READERS.get(file.format or "")
    if reader is None:
        return None
    if read_at is not None:
        return reader(read_at, file.size, file.path)
    fd = open_unchanged(file.source, file.stamp)
    try:
        return reader(reading(fd, file.path), file.size, file.path)
    finally:
        os.close(fd)
