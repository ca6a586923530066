"""The data of a zip's members, decompressed as far as that goes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from modelcar.scanning.content import Content
from modelcar.scanning.dispatch import LIMIT
from modelcar.scanning.expansion import Decoder, Expansion, Inflater, bz2_decoder, lzma1_decoder, xz_decoder
from modelcar.scanning.filescan import FileScan
from modelcar.scanning.findings import shown
from modelcar.scanning.formats.archives import DAMAGED
from modelcar.scanning.formats.zips.directory import Entry, View
from modelcar.scanning.formats.zips.rules import METHOD, WRONG_CRC

__all__ = ["STORED", "opened"]

STORED: Final = 0
_DEFLATED, _BZIP2, _LZMA, _XZ = 8, 12, 14, 95
_LZMA_PREFIX: Final = 9  # bytes: version, size of the properties, five bytes of properties


@contextmanager
def opened(scan: FileScan, entry: Entry, view: View) -> Iterator[Content]:
    """The data of a member according to `view`, as long as the block lasts; what is wrong with it is reported.

    What cannot be decompressed is given as it lies there: a loader may take it so.
    """
    stop = min(entry.data + view.compressed, scan.size)
    stored = scan.content.part(entry.data, stop - entry.data)
    name = shown(view.names[0])
    if view.method == STORED:
        if view.size != view.compressed:
            scan.found(DAMAGED, f"{name} has {view.compressed} bytes in place of {view.size}", offset=entry.start)
        _check_crc(scan, entry, view, _crc_of(scan, stored))
        yield stored
        return
    start, decoder = _decoder(view.method, stored)
    if decoder is None:
        scan.found(METHOD, f"{name}: method {view.method}", offset=entry.start)
        yield stored
        return
    expansion = Expansion(scan.budget, decoder, stored, start, stored.size)
    with scan.spool(expansion.pieces()) as content:
        _check_expansion(scan, entry, view, expansion)
        yield stored if content.size == 0 and expansion.problem else content


def _crc_of(scan: FileScan, content: Content) -> int:
    crc = 0
    for piece in content.pieces():
        scan.budget.check_time()
        crc = zlib.crc32(piece, crc)
    return crc


def _check_crc(scan: FileScan, entry: Entry, view: View, actual: int) -> None:
    if actual != view.crc:
        detail = f"{shown(view.names[0])} has {actual:08x} in place of {view.crc:08x}"
        scan.found(WRONG_CRC, detail, offset=entry.start)


def _check_expansion(scan: FileScan, entry: Entry, view: View, expansion: Expansion) -> None:
    name = shown(view.names[0])
    ends_without_mark = view.method == _LZMA and expansion.exhausted and expansion.produced == view.size
    if expansion.limit:
        scan.found(LIMIT, f"{name}: {expansion.limit}", offset=entry.start)
    elif expansion.problem and not ends_without_mark:
        scan.found(DAMAGED, f"{name}: {expansion.problem}", offset=entry.start)
    elif expansion.end is not None and expansion.end != view.compressed:
        detail = f"{name}: {view.compressed - expansion.end} bytes follow its compressed data"
        scan.found(DAMAGED, detail, offset=entry.data + expansion.end)
    elif expansion.produced != view.size:
        detail = f"{name} has {expansion.produced} bytes in place of {view.size}"
        scan.found(DAMAGED, detail, offset=entry.start)
    else:
        _check_crc(scan, entry, view, expansion.crc)


def _decoder(method: int, stored: Content) -> tuple[int, Decoder | None]:
    """Where the compressed data begins in `stored`, and what reads it."""
    if method == _DEFLATED:
        return 0, Inflater(-15)
    if method == _BZIP2:
        return 0, bz2_decoder()
    if method == _XZ:
        return 0, xz_decoder()
    if method == _LZMA:
        prefix = stored.read(0, _LZMA_PREFIX)
        return _LZMA_PREFIX, lzma1_decoder(prefix[4:]) if prefix[2:4] == b"\x05\0" else None
    return 0, None
