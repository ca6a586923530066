"""Compression that joblib uses and no archive does: bare zlib and LZMA streams."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from modelcar.scanning.content import literal
from modelcar.scanning.filescan import FileScan, Format, Malformed, Probe

__all__ = ["FORMATS"]

_PIECE: Final = 1 << 20  # bytes
_ENOUGH: Final = 64  # bytes out of the first 4 KiB that make it a compressed stream, if it does not end before
_LZMA: Final = b"\x5d\x00\x00"  # the properties that every encoder uses; two bytes of the dictionary's size
_ERRORS: Final = (zlib.error, lzma.LZMAError)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def feed(self, data: bytes) -> Iterator[bytes]: ...


class _Zlib:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj()

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            yield self._inner.decompress(data, _PIECE)
            data = self._inner.unconsumed_tail


class _Lzma:
    def __init__(self) -> None:
        self._inner = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=512 << 20)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield self._inner.decompress(data, _PIECE)
        while not self._inner.eof and not self._inner.needs_input:
            yield self._inner.decompress(b"", _PIECE)


def _looks_like(make: Callable[[], _Decompressor], head: bytes, *, whole: bool) -> bool:
    """Whether the beginning decompresses: to its end if it is all there is, else to more than chance would."""
    decompressor = make()
    produced = 0
    try:
        for piece in decompressor.feed(head):
            produced += len(piece)
            if produced >= _ENOUGH or decompressor.eof:
                return True
    except _ERRORS:
        return False
    return not whole and produced > 0


def _matches_zlib(probe: Probe) -> bool:
    head = probe.head
    if len(head) < 2 or head[0] & 0x0F != 8 or head[0] >> 4 > 7 or int.from_bytes(head[:2], "big") % 31:
        return False
    return _looks_like(_Zlib, head, whole=probe.size <= len(head))


def _matches_lzma(probe: Probe) -> bool:
    return probe.head.startswith(_LZMA) and _looks_like(_Lzma, probe.head, whole=probe.size <= len(probe.head))


def _scan(scan: FileScan, make: Callable[[], _Decompressor]) -> None:
    decompressor = make()
    with scan.spool(_pieces(scan, decompressor)) as content:
        if not decompressor.eof:
            raise Malformed("it ends before its compressed data does", scan.size)
        scan.account(0, scan.size - len(decompressor.unused_data))
        scan.scan_member(scan.name.rpartition("/")[2], content if content.size else literal(b""))


def _pieces(scan: FileScan, decompressor: _Decompressor) -> Iterator[bytes]:
    total = consumed = 0
    for data in scan.content.pieces():
        consumed += len(data)
        try:
            for piece in decompressor.feed(data):
                total += len(piece)
                scan.budget.expand(len(piece), total=total, compressed=consumed)
                yield piece
        except _ERRORS as e:
            raise Malformed("its compressed data is broken", consumed - len(data)) from e
        if decompressor.eof:
            return


FORMATS: Final = (
    Format(name="zlib", matches=_matches_zlib, scan=lambda scan: _scan(scan, _Zlib)),
    Format(name="lzma", matches=_matches_lzma, scan=lambda scan: _scan(scan, _Lzma)),
)
