"""A writer of zips that can lie: what the directory says, what the members' headers say and what is there, apart."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["DEFLATED", "STORED", "Member", "extra", "inflatable", "make_zip", "zeros"]

STORED, DEFLATED = 0, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member.

    Attributes:
        data: as the member's reader gets it; `raw` is what lies in the file, where that is not to follow from `data`.
        central, local: fields of the headers that are not as they should be, by the names that they have in `_fields`.
        descriptor: the form of the record behind the data, as for `struct`, or None; with `mark` in front of it.
        before: bytes in front of the member that belong to nothing.
        header: whether it has a header of its own; without one it shares that of the member before it.
        listed: whether it is in the directory.
    """

    name: bytes
    data: bytes = b""
    method: int = STORED
    flags: int = 0
    raw: bytes | None = None
    central: dict[str, Any] = field(default_factory=dict)
    local: dict[str, Any] = field(default_factory=dict)
    descriptor: str | None = None
    mark: bytes = b"PK\x07\x08"
    before: bytes = b""
    header: bool = True
    listed: bool = True

    @property
    def stored(self) -> bytes:
        if self.raw is not None:
            return self.raw
        return inflatable(self.data) if self.method == DEFLATED else self.data


def inflatable(data: bytes, level: int = 9) -> bytes:
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


def zeros(name: bytes, mebibytes: int) -> Member:
    """A member that inflates to so many zeros: one MiB of them deflated, over and over."""
    compressor, piece, crc = zlib.compressobj(9, zlib.DEFLATED, -15), bytes(1 << 20), 0
    raw = (compressor.compress(piece) + compressor.flush(zlib.Z_FULL_FLUSH)) * mebibytes + compressor.flush()
    for _ in range(mebibytes):
        crc = zlib.crc32(piece, crc)
    fields = {"crc": crc, "size": mebibytes << 20}
    return Member(name=name, raw=raw, method=DEFLATED, central=fields, local=fields)


def extra(kind: int, data: bytes) -> bytes:
    """One additional field."""
    return struct.pack("<HH", kind, len(data)) + data


def make_zip(
    members: Iterable[Member],
    *,
    prefix: bytes = b"",
    base: int = 0,
    gap: bytes = b"",
    comment: bytes = b"",
    end: dict[str, Any] | None = None,
    large_end: dict[str, Any] | None = None,
) -> bytes:
    """A zip. Offsets are `base` more than they should be; `prefix` and `gap` (before the directory) belong to nothing.

    `end` and `large_end` replace fields of the end records; the large one is there if `large_end` is not None.
    """
    body, directory, offset, count = bytearray(prefix), b"", 0, 0
    for member in members:
        body += member.before
        if member.header:
            offset = len(body) + base
            body += _local(member) + member.stored + _descriptor(member)
        if member.listed:
            directory += _central(member, offset)
            count += 1
    body += gap
    fields = {"entries": count, "size": len(directory), "directory": len(body) + base}
    result = bytes(body) + directory
    if large_end is not None:
        result += _large_end(fields | large_end, len(result), large_end.get("locator"))
    return result + _end(fields | (end or {}), comment)


def _fields(member: Member) -> dict[str, Any]:
    return {
        "flags": member.flags | (0x08 if member.descriptor else 0),
        "method": member.method,
        "crc": zlib.crc32(member.data),
        "compressed": len(member.stored),
        "size": len(member.data),
        "name": member.name,
        "extra": b"",
    }


def _local(member: Member) -> bytes:
    fields = _fields(member)
    if member.descriptor:
        fields |= {"crc": 0, "compressed": 0, "size": 0}
    fields |= member.local
    fixed = struct.pack(
        "<4sHHHHHLLLHH",
        b"PK\x03\x04",
        20,
        fields["flags"],
        fields["method"],
        0,
        33,
        fields["crc"],
        fields["compressed"],
        fields["size"],
        len(fields["name"]),
        len(fields["extra"]),
    )
    return fixed + bytes(fields["name"] + fields["extra"])


def _descriptor(member: Member) -> bytes:
    if not member.descriptor:
        return b""
    sizes = struct.pack(member.descriptor, len(member.stored), len(member.data))
    return member.mark + struct.pack("<L", zlib.crc32(member.data)) + sizes


def _central(member: Member, offset: int) -> bytes:
    fields = _fields(member) | {"comment": b"", "disk": 0, "mode": 0o100644, "offset": offset} | member.central
    fixed = struct.pack(
        "<4sHHHHHHLLLHHHHHLL",
        b"PK\x01\x02",
        0x031E,
        20,
        fields["flags"],
        fields["method"],
        0,
        33,
        fields["crc"],
        fields["compressed"],
        fields["size"],
        len(fields["name"]),
        len(fields["extra"]),
        len(fields["comment"]),
        fields["disk"],
        0,
        fields["mode"] << 16,
        fields["offset"],
    )
    return fixed + bytes(fields["name"] + fields["extra"] + fields["comment"])


def _end(fields: dict[str, Any], comment: bytes) -> bytes:
    fixed = struct.pack(
        "<4sHHHHLLH",
        b"PK\x05\x06",
        fields.get("disk", 0),
        fields.get("disk", 0),
        fields["entries"],
        fields["entries"],
        fields["size"],
        fields["directory"],
        fields.get("comment", len(comment)),
    )
    return fixed + comment


def _large_end(fields: dict[str, Any], at: int, locator: int | None) -> bytes:
    record = struct.pack(
        "<4sQHHLLQQQQ",
        b"PK\x06\x06",
        fields.get("length", 44),
        45,
        45,
        0,
        0,
        fields["entries"],
        fields["entries"],
        fields["size"],
        fields["directory"],
    )
    return record + struct.pack("<4sLQL", b"PK\x06\x07", 0, at if locator is None else locator, 1)
