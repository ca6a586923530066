"""Where an HDF5 file begins, and where its root is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from modelcar.scanning.content import Content
from modelcar.scanning.filescan import FileScan, Malformed
from modelcar.scanning.formats.hdf5.file import UNDEFINED, Fields, Hdf5
from modelcar.scanning.formats.hdf5.rules import NotRead

__all__ = ["find_superblock", "open_root"]

_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_FIRST: Final = 512  # bytes; a file may have other things before it: that many, or twice, four times … as many


def find_superblock(content: Content) -> int | None:
    """Where the first superblock is that the library would find."""
    return next((at for at in _places(content.size) if content.read(at, 8) == _SIGNATURE), None)


def _places(size: int) -> Iterator[int]:
    yield 0
    at = _FIRST
    while at < size:
        yield at
        at *= 2


def open_root(scan: FileScan, start: int) -> tuple[Hdf5, int]:
    """The file whose superblock is at `start`, and the address of the root group's header.

    Raises:
        Malformed: it is of a kind that is not read here.
    """
    version = scan.read(start + 8, 1)[0]
    if version not in (0, 2, 3):
        raise NotRead(f"superblocks of version {version} are not read here", start)
    return _old(scan, start) if version == 0 else _new(scan, start)


def _old(scan: FileScan, start: int) -> tuple[Hdf5, int]:
    fields = Fields(scan.read(start, 96), start)
    fields.raw(9)
    fields.expect(bytes(4) + b"\x08\x08\0")  # versions; sizes of addresses and lengths
    leaf, internal, flags = fields.number(2), fields.number(2), fields.number(4)
    base, free, end, driver = (fields.number(8) for _ in range(4))
    _, root, cached = fields.number(8), fields.number(8), fields.number(4)
    if flags or free != UNDEFINED or driver != UNDEFINED or cached > 2 or not (leaf and internal):
        raise NotRead("its superblock asks for what is not read here", start)
    file = _checked(scan, start, base, end)
    file.leaf, file.internal = leaf, internal
    scan.account(start, 96)
    return file, root


def _new(scan: FileScan, start: int) -> tuple[Hdf5, int]:
    fields = Fields(scan.read(start, 48), start)
    fields.raw(9)
    fields.expect(b"\x08\x08")
    flags = fields.number(1)
    base, extension, end, root = (fields.number(8) for _ in range(4))
    if flags or extension != UNDEFINED:
        raise NotRead("its superblock asks for what is not read here", start)
    file = _checked(scan, start, base, end)
    scan.account(start, 48)
    return file, root


def _checked(scan: FileScan, start: int, base: int, end: int) -> Hdf5:
    if base != start or end not in (scan.size, scan.size - base):
        raise Malformed(f"it has {scan.size} bytes and says {end}", start)
    return Hdf5(scan, base)
