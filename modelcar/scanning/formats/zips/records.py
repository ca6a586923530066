"""The records that a zip is made of, as they stand there."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from modelcar.scanning.content import Content
from modelcar.scanning.filescan import Malformed

__all__ = [
    "CENTRAL",
    "LOCAL",
    "Central",
    "Extras",
    "Header",
    "parse_central",
    "parse_extras",
    "parse_local",
]

LOCAL: Final = b"PK\x03\x04"
CENTRAL: Final = b"PK\x01\x02"

_LOCAL_FIELDS: Final = struct.Struct("<4x2xHH4xLLLHH")
_CENTRAL_FIELDS: Final = struct.Struct("<4x2x2xHH4xLLLHHHH2xLL")
_U16, _U32 = 0xFFFF, 0xFFFFFFFF

_ZIP64: Final = 0x0001
_UNICODE_PATH: Final = 0x7075
# Longest contents of the fields that say nothing but times and owners, and of marks.
_HARMLESS: Final = {0x5455: 13, 0x5855: 12, 0x7855: 4, 0x7875: 24, 0x000A: 32, 0xCAFE: 0}
_TORCH_PADDING: Final = 0x4246
_ALIGNMENT: Final = 0xD935


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """The additional fields of a header. `path` is a name that one of them gives; `odd` says what is not understood."""

    zip64: bytes | None = None
    path: bytes | None = None
    odd: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A local header, or what an entry of the directory has in common with one. Sizes are bytes.

    Attributes:
        offset, end: `[offset, end)` is the header with its name and fields.
        surplus: what its field of large sizes says beyond what was needed; `None` if that field is broken.
    """

    offset: int
    end: int
    name: bytes
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    extras: Extras
    surplus: tuple[int, ...] | None

    @property
    def has_descriptor(self) -> bool:
        """Whether checksum and sizes follow behind the data."""
        return bool(self.flags & 0x08)


@dataclass(frozen=True, slots=True, kw_only=True)
class Central:
    """An entry of the directory. `local_offset` is as written there; `mode` is that of Unix, or zero."""

    header: Header
    local_offset: int
    mode: int
    disk: int
    comment: int


def parse_extras(data: bytes) -> Extras:
    zip64 = path = odd = None
    at = 0
    while at + 4 <= len(data):
        kind, length = struct.unpack_from("<HH", data, at)
        field = data[at + 4 : at + 4 + length]
        at += 4 + length
        if len(field) < length:
            odd = f"field {kind:#06x} is cut off"
        elif kind == _ZIP64 and zip64 is None:
            zip64 = field
        elif kind == _UNICODE_PATH and path is None and length > 5:
            path = field[5:]
        elif not _is_harmless(kind, field):
            odd = f"field {kind:#06x} of {length} bytes"
    if any(data[at:]):
        odd = "it is cut off"
    return Extras(zip64=zip64, path=path, odd=odd)


def _is_harmless(kind: int, field: bytes) -> bool:
    if kind == _TORCH_PADDING:
        return not field.strip(b"Z") or not field.strip(b"\0")
    if kind == _ALIGNMENT:
        return not any(field[2:])
    return len(field) <= _HARMLESS.get(kind, -1)


def parse_local(content: Content, offset: int) -> Header:
    """
    Raises:
        Malformed: there is no local header.
    """
    fixed = content.read(offset, _LOCAL_FIELDS.size) if offset >= 0 else b""
    if len(fixed) < _LOCAL_FIELDS.size or not fixed.startswith(LOCAL):
        raise Malformed("no member begins where one should", offset)
    flags, method, crc, compressed, size, name_size, extra_size = _LOCAL_FIELDS.unpack(fixed)
    rest = content.read(offset + _LOCAL_FIELDS.size, name_size + extra_size)
    if len(rest) < name_size + extra_size:
        raise Malformed("the header of a member is cut off", offset)
    extras = parse_extras(rest[name_size:])
    (size, compressed), surplus = _widened(extras.zip64, (size, _U32), (compressed, _U32))
    return Header(
        offset=offset,
        end=offset + _LOCAL_FIELDS.size + name_size + extra_size,
        name=rest[:name_size],
        flags=flags,
        method=method,
        crc=crc,
        compressed=compressed,
        size=size,
        extras=extras,
        surplus=surplus,
    )


def parse_central(data: bytes, at: int, offset: int) -> tuple[Central, int]:
    """The entry at `data[at:]`, which lies at `offset` of the file; and where in `data` it ends.

    Raises:
        Malformed: there is no entry.
    """
    if len(data) - at < _CENTRAL_FIELDS.size or data[at : at + 4] != CENTRAL:
        raise Malformed("the directory has no entry where one should be", offset)
    flags, method, crc, compressed, size, name_size, extra_size, comment, disk, mode, local = (
        _CENTRAL_FIELDS.unpack_from(data, at)
    )
    name_at = at + _CENTRAL_FIELDS.size
    end = name_at + name_size + extra_size + comment
    if end > len(data):
        raise Malformed("an entry of the directory is cut off", offset)
    extras = parse_extras(data[name_at + name_size : end - comment])
    (size, compressed, local, disk), surplus = _widened(
        extras.zip64, (size, _U32), (compressed, _U32), (local, _U32), (disk, _U16)
    )
    header = Header(
        offset=offset,
        end=offset + end - at,
        name=data[name_at : name_at + name_size],
        flags=flags,
        method=method,
        crc=crc,
        compressed=compressed,
        size=size,
        extras=extras,
        surplus=surplus,
    )
    return Central(header=header, local_offset=local, mode=mode >> 16, disk=disk, comment=comment), end


def _widened(zip64: bytes | None, *fields: tuple[int, int]) -> tuple[list[int], tuple[int, ...] | None]:
    """Values with their markers, replaced by what the large field says; and what else that says, `None` if broken."""
    if zip64 is None:
        return [value for value, _ in fields], ()
    values, at = [], 0
    for value, marker in fields:
        width = 8 if marker == _U32 else 4
        if value == marker:
            if at + width > len(zip64):
                return [value for value, _ in fields], None
            value = int.from_bytes(zip64[at : at + width], "little")
            at += width
        values.append(value)
    rest = zip64[at:]
    if len(rest) % 8 == 4 and not any(rest[-4:]):  # the number of a disk
        rest = rest[:-4]
    if len(rest) % 8 or len(rest) > 24:
        return values, None
    return values, tuple(int.from_bytes(rest[i : i + 8], "little") for i in range(0, len(rest), 8))
