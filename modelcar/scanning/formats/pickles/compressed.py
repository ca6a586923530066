"""Compression that joblib uses and no archive does: bare zlib and LZMA streams."""

from __future__ import annotations

import lzma
import zlib
from functools import partial
from typing import Final

from modelcar.scanning.expansion import Decoder, Inflater, lzma_decoder
from modelcar.scanning.filescan import Format, Probe
from modelcar.scanning.formats.packed import Kind, scan_packed

__all__ = ["FORMATS"]

_ENOUGH: Final = 64  # bytes out of the first 4 KiB that make it a compressed stream, if it does not end before
_LZMA: Final = b"\x5d\x00\x00"  # the properties that every encoder uses; two bytes of the dictionary's size
_ZLIB_KIND: Final = Kind(name="zlib", decoder=lambda: Inflater(zlib.MAX_WBITS))
_LZMA_KIND: Final = Kind(name="lzma", decoder=lzma_decoder)


def _looks_like(decoder: Decoder, head: bytes, *, whole: bool) -> bool:
    """Whether the beginning decompresses: to its end if it is all there is, else to more than chance would."""
    try:
        produced = len(decoder.decompress(head, _ENOUGH))
    except (zlib.error, lzma.LZMAError):
        return False
    return produced >= _ENOUGH or decoder.eof or (not whole and produced > 0)


def _matches_zlib(probe: Probe) -> bool:
    head = probe.head
    if len(head) < 2 or head[0] & 0x0F != 8 or head[0] >> 4 > 7 or int.from_bytes(head[:2], "big") % 31:
        return False
    return _looks_like(_ZLIB_KIND.decoder(), head, whole=probe.size <= len(head))


def _matches_lzma(probe: Probe) -> bool:
    return probe.head.startswith(_LZMA) and _looks_like(
        _LZMA_KIND.decoder(), probe.head, whole=probe.size <= len(probe.head)
    )


FORMATS: Final = (
    Format(name="zlib", matches=_matches_zlib, scan=partial(scan_packed, kind=_ZLIB_KIND)),
    Format(name="lzma", matches=_matches_lzma, scan=partial(scan_packed, kind=_LZMA_KIND)),
)
