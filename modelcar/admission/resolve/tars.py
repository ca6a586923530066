"""The entries of a layer as it streams by: gzip or zstd or neither, headers of every dialect, within bounds."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final, Protocol, cast

from modelcar.errors import InvalidContent

__all__ = ["Bounds", "Entry", "entries"]

_BLOCK: Final = 512
_PIECE: Final = 1 << 16
_MAX_EXTENSION: Final = 1 << 20  # bytes of a long name, or of PAX records
_MAX_DIGITS: Final = 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW: Final = 25  # log2 of the bytes of memory that a layer may ask for
_FOLDER: Final = b"5"
_WITHOUT_CONTENT: Final = (b"1", b"2", b"3", b"4", _FOLDER, b"6")
_ERRORS: Final = (EOFError, ValueError, gzip.BadGzipFile, zlib.error)


class Readable(Protocol):
    def read(self, n: int = -1, /) -> bytes: ...


@dataclass(slots=True, kw_only=True)
class Bounds:
    """Bytes that may yet be read of one image: as they are stored, and as they unpack."""

    stored: int
    unpacked: int

    def take(self, *, stored: int = 0, unpacked: int = 0) -> None:
        """
        Raises:
            InvalidContent: that is more than is left.
        """
        self.stored -= stored
        self.unpacked -= unpacked
        if self.stored < 0 or self.unpacked < 0:
            raise InvalidContent("its layers are too large to be looked through")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A member of a tar. `read` returns its content while it is the current one.

    Attributes:
        path: without `./` and leading or trailing slashes.
        kind: one byte, as in the header.
    """

    path: str
    kind: bytes
    size: int
    read: Callable[[], bytes]

    @property
    def is_folder(self) -> bool:
        return self.kind == _FOLDER

    @property
    def is_file(self) -> bool:
        return self.kind not in _WITHOUT_CONTENT


def entries(layer: Readable, bounds: Bounds) -> Iterator[Entry]:
    """Every entry, in order, to the end of the tar. Whoever has seen enough just stops.

    Raises:
        InvalidContent: it is no tar, or more than `bounds` allow.
    """
    stream = _Stream(layer, bounds)
    name: bytes | None = None
    size: int | None = None
    while any(block := stream.header()):
        kind, own_size = block[156:157], _size(block)
        if kind in (b"L", b"x", b"g", b"K", b"X"):
            if own_size > _MAX_EXTENSION:
                raise InvalidContent(f"{own_size} bytes of a layer are said to be one name")
            content = stream.take(own_size)
            stream.skip(-own_size % _BLOCK)
            if kind == b"L":
                name = content.partition(b"\0")[0]
            elif kind in (b"x", b"X"):
                records = _records(content)
                name = records.get(b"path", name)
                if (said := records.get(b"size", b"")).isdigit() and len(said) <= _MAX_DIGITS:
                    size = int(said)
            continue
        length = 0 if kind in _WITHOUT_CONTENT else own_size if size is None else size
        member = _Member(stream, length)
        path = (_own_name(block) if name is None else name).decode("utf-8", "replace")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if parts and ".." not in parts:
            yield Entry(path="/".join(parts), kind=kind, size=length, read=member.read)
        member.skip()
        name = size = None


class _Stream:
    """A layer unpacked. Whatever goes wrong with that is the layer's fault."""

    def __init__(self, layer: Readable, bounds: Bounds) -> None:
        self._bounds = bounds
        counted = _Counted(layer, bounds)
        start = counted.read(len(_ZSTD))
        self._stream = _unpacked(start, _Prefixed(start, counted))

    def header(self) -> bytes:
        """The next block; nothing at the end, which not every tar marks."""
        start = self._some(1, may_end=True)
        return start + self.take(_BLOCK - 1) if start else b""

    def take(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            data += self._some(n - len(data))
        return data

    def skip(self, n: int) -> None:
        while n > 0:
            n -= len(self._some(min(n, _PIECE)))

    def _some(self, n: int, *, may_end: bool = False) -> bytes:
        try:
            data = self._stream.read(n)
        except _ERRORS as e:
            raise InvalidContent(f"a layer cannot be unpacked: {e}") from None
        except Exception as e:
            if type(e).__name__ != "ZstdError":
                raise
            raise InvalidContent(f"a layer cannot be unpacked: {e}") from None
        if not data and not may_end:
            raise InvalidContent("a layer ends in the middle")
        self._bounds.take(unpacked=len(data))
        return data


class _Member:
    """The content of the entry that the stream is at."""

    def __init__(self, stream: _Stream, size: int) -> None:
        self._stream = stream
        self._size = size
        self._left = size

    def read(self) -> bytes:
        content, self._left = self._stream.take(self._left), 0
        return content

    def skip(self) -> None:
        self._stream.skip(self._left + -self._size % _BLOCK)


class _Counted:
    def __init__(self, raw: Readable, bounds: Bounds) -> None:
        self._raw = raw
        self._bounds = bounds

    def read(self, n: int = -1) -> bytes:
        data = self._raw.read(_PIECE if n < 0 else n)
        self._bounds.take(stored=len(data))
        return data


class _Prefixed:
    """A stream whose first bytes have been read already."""

    def __init__(self, start: bytes, rest: Readable) -> None:
        self._start = start
        self._rest = rest

    def read(self, n: int = -1) -> bytes:
        if self._start:
            n = len(self._start) if n < 0 else n
            data, self._start = self._start[:n], self._start[n:]
            return data
        return self._rest.read(n)


def _unpacked(start: bytes, stored: Readable) -> Readable:
    """By the bytes, as engines do, whatever the media type says."""
    if start.startswith(_GZIP):
        return cast("Readable", gzip.GzipFile(fileobj=cast("IO[bytes]", stored), mode="rb"))
    if start.startswith(_ZSTD):
        zstd = _zstd()
        limit = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW}
        return cast("Readable", zstd.ZstdFile(stored, options=limit))
    return stored


def _zstd() -> Any:
    """The standard library's module, from Python 3.14, or the same one for older ones."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise InvalidContent("a layer is packed with zstd, which needs modelcar[cluster]") from None
    return zstd


def _own_name(block: bytes) -> bytes:
    name, prefix = block[:100].partition(b"\0")[0], block[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name


def _size(block: bytes) -> int:
    field = block[124:136]
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.partition(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        raise InvalidContent("a layer is no tar") from None


def _records(content: bytes) -> dict[bytes, bytes]:
    """PAX records, `length key=value` on a line each, where the length counts all of it."""
    found = {}
    while content:
        digits = content.partition(b" ")[0]
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        key, equals, value = content[len(digits) + 1 : length].removesuffix(b"\n").partition(b"=")
        if not equals:
            break
        found[key] = value
        content = content[length:]
    return found
