"""Tars with members that no honest program would write."""

from __future__ import annotations

import gzip
import io
import tarfile

__all__ = ["device", "fifo", "file", "gzipped", "hardlink", "link", "tar_of"]

Entry = tuple[tarfile.TarInfo, bytes]


def file(name: str, data: bytes = b"") -> Entry:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info, data


def link(name: str, target: str) -> Entry:
    return _special(name, tarfile.SYMTYPE, target)


def hardlink(name: str, target: str) -> Entry:
    return _special(name, tarfile.LNKTYPE, target)


def device(name: str) -> Entry:
    """The block device of the first disk."""
    info, data = _special(name, tarfile.BLKTYPE)
    info.devmajor, info.devminor = 8, 0
    return info, data


def fifo(name: str) -> Entry:
    return _special(name, tarfile.FIFOTYPE)


def tar_of(*entries: Entry, pax: bool = True) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)


def _special(name: str, kind: bytes, target: str = "") -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""
