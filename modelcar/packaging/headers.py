"""Does a weight file say of itself what the model index says of it?"""

from __future__ import annotations

from functools import partial
from typing import Final

from modelcar.checkpoint.formats.gguf import read_gguf
from modelcar.checkpoint.formats.header import Header
from modelcar.checkpoint.formats.safetensors import read_safetensors
from modelcar.errors import InvalidContent, MalformedFile, NotFound
from modelcar.layers.index import IndexedFile

__all__ = ["check_header"]

_READERS: Final = {"safetensors": read_safetensors, "gguf": read_gguf}


def check_header(file: IndexedFile, raw: bytes) -> Header:
    """The header of a file whose first bytes are `raw`, as many as the index says that the header has.

    Raises:
        NotFound: the index knows of no header.
        InvalidContent: index and file disagree about the header or the tensors.
    """
    reader = _READERS.get(file.format or "")
    if reader is None or file.header_size is None:
        raise NotFound(f"{file.path} has no list of tensors", hint="safetensors and GGUF files have one")
    try:
        header = reader(partial(_read, raw, file.size), file.size, file.path)
    except MalformedFile as e:
        raise InvalidContent(f"the model index misleads about the header of {file.path}: {e}") from None
    if header.size != file.header_size or header.tensors != file.tensors:
        raise InvalidContent(f"the model index lists other tensors of {file.path} than its own header does")
    if file.header is not None and file.header != raw:
        raise InvalidContent(f"the model index has another header of {file.path} than the file itself")
    return header


def _read(raw: bytes, size: int, offset: int, n: int) -> bytes:
    """As if zeros followed: readers look ahead, and a header that goes on there has another size than was said."""
    return raw[offset : offset + n].ljust(min(n, size - offset), b"\0")
