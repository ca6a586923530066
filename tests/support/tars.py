"""Tars of every dialect, made with Python's `tarfile`, and single header blocks to spoil."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

from modelcar.layers.bytemap import ByteMap, FileRange, Literal

__all__ = ["FORMATS", "header", "make_tar", "reseal", "write_sparse"]

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def make_tar(files: Mapping[str, bytes], *, dialect: str = "gnu") -> bytes:
    """A tar of these files, in order; a name that ends in a slash is a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[dialect]) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def header(name: str, kind: bytes = b"0", size: int = 0) -> bytes:
    """One header block, right in itself."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)[-512:]


def reseal(block: bytes) -> bytes:
    """A header block with the checksum that its other bytes ask for."""
    plain = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(plain) + block[156:]


def write_sparse(content: ByteMap, path: Path) -> None:
    """Write a blob out, with holes where it has zeros or a file underneath has holes itself."""
    with path.open("wb") as f:
        position = 0
        for segment in content.segments():
            if isinstance(segment, Literal):
                f.seek(position)
                f.write(segment.data)
                f.flush()
            elif isinstance(segment, FileRange):
                _copy_data(segment, f.fileno(), position)
            position += segment.size
        f.truncate(content.size)


def _copy_data(source: FileRange, target: int, position: int) -> None:
    with source.path.open("rb") as f:
        at, end = source.offset, source.offset + source.size
        while at < end:
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            hole = min(os.lseek(f.fileno(), at, os.SEEK_HOLE), end)
            while at < hole:
                piece = os.pread(f.fileno(), min(hole - at, 1 << 20), at)
                os.pwrite(target, piece, position + at - source.offset)
                at += len(piece)
