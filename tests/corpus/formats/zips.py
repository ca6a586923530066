"""A zip writer whose local headers, central directory and data may contradict one another."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = ["DEFLATED", "LINK", "STORED", "Member", "zip_of", "zipped"]

STORED: Final = 0
DEFLATED: Final = 8
LINK: Final = 0o120777
"""A Unix mode: the member is a symbolic link, its content the target."""

_UTF8_NAME: Final = 0x800


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One entry. What is None is the truth.

    `local_*` is what the local header says where it differs from the central directory. `raw` is what lies in the
    file in place of the compressed `data`. `hidden`: not in the central directory. `same_data_as`: the index of an
    earlier member whose local header this one's directory entry points to.
    """

    name: str | bytes
    data: bytes = b""
    method: int = STORED
    flags: int = 0
    mode: int = 0o100644
    crc: int | None = None
    size: int | None = None
    raw: bytes | None = None
    local_name: str | bytes | None = None
    local_flags: int | None = None
    local_method: int | None = None
    hidden: bool = False
    same_data_as: int | None = None


def zipped(files: dict[str, bytes], *, method: int = STORED) -> bytes:
    """An ordinary zip."""
    return zip_of(*(Member(name=name, data=data, method=method) for name, data in files.items()))


def zip_of(*members: Member, prefix: bytes = b"", comment: bytes = b"") -> bytes:
    """A zip after `prefix`, which its offsets count."""
    body, directory, offsets = prefix, b"", list[int]()
    entries = 0
    for member in members:
        offset = len(body) if member.same_data_as is None else offsets[member.same_data_as]
        offsets.append(offset)
        if member.same_data_as is None:
            body += _local(member)
        if not member.hidden:
            directory += _central(member, offset)
            entries += 1
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, entries, entries, len(directory), len(body), len(comment))
    return body + directory + end + comment


def _local(member: Member) -> bytes:
    name = _encoded(member.name if member.local_name is None else member.local_name)
    flags = _flags(member) if member.local_flags is None else member.local_flags
    method = member.method if member.local_method is None else member.local_method
    data = _stored(member)
    head = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, flags, method, 0, 0x21, *_facts(member), len(name), 0)
    return head + name + data


def _central(member: Member, offset: int) -> bytes:
    name = _encoded(member.name)
    facts = _facts(member)
    head = struct.pack(
        "<IHHHHHHIIIHHH", 0x02014B50, 0x031E, 20, _flags(member), member.method, 0, 0x21, *facts, len(name), 0, 0
    )
    return head + struct.pack("<HHII", 0, 0, member.mode << 16, offset) + name


def _facts(member: Member) -> tuple[int, int, int]:
    """CRC, compressed and whole size."""
    crc = zlib.crc32(member.data) if member.crc is None else member.crc
    return crc, len(_stored(member)), len(member.data) if member.size is None else member.size


def _stored(member: Member) -> bytes:
    if member.raw is not None:
        return member.raw
    if member.method != DEFLATED:
        return member.data
    return _deflated(member.data)


@lru_cache(maxsize=1)
def _deflated(data: bytes) -> bytes:
    """Asked for by header, directory and body, and by members that are copies of each other."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def _flags(member: Member) -> int:
    return member.flags | (0 if _encoded(member.name).isascii() else _UTF8_NAME)


def _encoded(name: str | bytes) -> bytes:
    return name.encode() if isinstance(name, str) else name
