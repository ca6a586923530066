"""Decompression that stops, and does not fail, where a stream breaks or a bound is reached: what came before counts."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from typing import Final, Protocol

from modelcar.scanning.content import Content
from modelcar.scanning.limits import Budget, LimitExceeded

__all__ = ["Decoder", "Expansion", "Inflater", "bz2_decoder", "lzma1_decoder", "lzma_decoder", "xz_decoder"]

_IN: Final = 1 << 16
_OUT: Final = 1 << 20
_MOST_MEMORY: Final = 256 << 20  # bytes of a dictionary


class Decoder(Protocol):
    """What `bz2` and `lzma` decompressors are."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Inflater:
    """A `zlib` decompressor in the shape of the others."""

    def __init__(self, window_bits: int) -> None:
        self._inner = zlib.decompressobj(window_bits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        result = self._inner.decompress(self._inner.unconsumed_tail + data, max(0, max_length))
        # A full piece may have more behind it, for which zlib wants no further input.
        self.needs_input = not self._inner.unconsumed_tail and len(result) < max_length
        return result


class Expansion:
    """One compressed stream that begins at `start` and ends before `stop`.

    Attributes, once `pieces` has come to its end:
        produced: bytes that came out.
        end: where the stream ends; `None` if it has no end within `[start, stop)` that was reached.
        problem: why it broke off, in words; `None` if it did not.
        exhausted: whether that is because there is no more of it.
        limit: the bound that was exceeded, in words.
        crc: CRC-32 of what came out.
    """

    def __init__(self, budget: Budget, decoder: Decoder, content: Content, start: int, stop: int) -> None:
        self._budget = budget
        self._decoder = decoder
        self._content = content
        self._at = self._start = start
        self._stop = stop
        self.produced = 0
        self.crc = 0
        self.end: int | None = None
        self.problem: str | None = None
        self.exhausted = False
        self.limit: str | None = None

    def pieces(self) -> Iterator[bytes]:
        """What comes out, at most 1 MiB at a time. Once."""
        try:
            while not self._decoder.eof:
                piece = self._next()
                if piece is None:
                    return
                self.produced += len(piece)
                self.crc = zlib.crc32(piece, self.crc)
                self._budget.expand(len(piece), total=self.produced, compressed=self._at - self._start)
                yield piece
        except LimitExceeded as e:
            self.limit = str(e)
        else:
            self.end = self._at - len(self._decoder.unused_data)

    def _next(self) -> bytes | None:
        """The next piece, possibly empty; `None` if there is none."""
        data = b""
        if self._decoder.needs_input:
            data = self._content.read(self._at, min(_IN, self._stop - self._at))
            if not data:
                self.exhausted = True
                self.problem = "its compressed data ends too early"
                return None
            self._at += len(data)
        try:
            return self._decoder.decompress(data, _OUT)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as e:
            self.problem = f"its compressed data is damaged ({type(e).__name__})"
            return None


def lzma1_decoder(properties: bytes) -> Decoder | None:
    """A decoder of bare LZMA data with these five bytes of properties; `None` if they are wrong or ask for too much."""
    if len(properties) != 5 or properties[0] >= 9 * 5 * 5:
        return None
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    dictionary = int.from_bytes(properties[1:], "little")
    if lc + lp > 4 or dictionary > _MOST_MEMORY:
        return None
    chain = [{"id": lzma.FILTER_LZMA1, "dict_size": max(dictionary, 4096), "lc": lc, "lp": lp, "pb": pb}]
    return lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=chain)


def bz2_decoder() -> Decoder:
    return bz2.BZ2Decompressor()


def lzma_decoder() -> Decoder:
    """Of the format before xz."""
    return lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=_MOST_MEMORY)


def xz_decoder() -> Decoder:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)
