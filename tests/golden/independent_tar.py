"""Tar policy v1 written a second time, from `docs/formats/layer.md` alone. It shares no code with `modelcar`."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import pairwise

__all__ = ["chunk_table", "write_layer"]

# name, mode, uid, gid, size, mtime, checksum, type, link name, magic, version, user, group, major, minor, prefix, rest
HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")


def write_layer(files: Mapping[str, tuple[bytes, bool]]) -> tuple[bytes, list[tuple[str, int, int]]]:
    """The layer of `{path: (content, executable)}`, and `(path, offset, size)` of every payload in its order."""
    members: dict[bytes, tuple[bytes, bool] | None] = {}
    for path, file in files.items():
        name = path.encode("utf-8")
        members[name] = file
        while b"/" in name:
            name = name.rsplit(b"/", 1)[0]
            members[name + b"/"] = None
    out = bytearray()
    payloads = []
    for name in sorted(members):
        member = members[name]
        if member is None:
            out += long_name(name) + header(name, b"5", 0, 0o755)
            continue
        content, executable = member
        head = long_name(name) + header(name, b"0", len(content), 0o755 if executable else 0o644)
        if len(content) >= 65536:
            out += comment(len(out), len(head))
        out += head
        payloads.append((name.decode(), len(out), len(content)))
        out += content
        while len(out) % 512:
            out.append(0)
    return bytes(out) + bytes(1024), payloads


def header(name: bytes, kind: bytes, size: int, mode: int, *, magic: bytes = b"ustar ", version: bytes = b" ") -> bytes:
    number = format(size, "011o").encode() if size < 8 * 1024**3 else bytes([128, 0, 0, 0]) + struct.pack(">Q", size)
    fields = (
        *(name[:100], format(mode, "07o").encode(), b"0000000", b"0000000", number, b"00000000000"),
        *(b"        ", kind, b"", magic, version, b"", b"", b"", b"", b""),
    )
    block = HEADER.pack(*fields)
    checksum = format(sum(block), "06o").encode() + b"\0 "
    return block[:148] + checksum + block[156:]


def long_name(name: bytes) -> bytes:
    if len(name) <= 100:
        return b""
    text = name + b"\0"
    return header(b"././@LongLink", b"L", len(text), 0o644) + text + bytes((512 - len(text) % 512) % 512)


def comment(position: int, head: int) -> bytes:
    """The extended header at `position` after which `head` bytes of headers end at a multiple of 4096."""
    for blocks in range(1, 9):
        length = 512 * blocks
        if (position + 512 + length + head) % 4096 == 0:
            start = f"{length} comment=".encode()
            record = start + b" " * (length - len(start) - 1) + b"\n"
            return header(b"././@PaxHeader", b"x", length, 0o644, magic=b"ustar\0", version=b"00") + record
    raise AssertionError


def chunk_table(size: int, payloads: list[tuple[str, int, int]]) -> list[tuple[int, int]]:
    """`(offset, size)` of every chunk: the blob is cut where a payload begins or ends, and each part every 4 MiB."""
    cuts = {0, size}
    for _, offset, length in payloads:
        cuts |= {offset, offset + length}
    borders = sorted(cuts)
    return [
        (start, min(4 << 20, stop - start))
        for begin, stop in pairwise(borders)
        for start in range(begin, stop, 4 << 20)
    ]
