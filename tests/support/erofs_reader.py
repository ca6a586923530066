"""Reads an EROFS metadata image as the kernel's documentation describes it; knows nothing of who wrote it."""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["ErofsImage", "Inode"]

_SUPERBLOCK = 1024


@dataclass(frozen=True, kw_only=True)
class Inode:
    number: int
    mode: int
    size: int
    links: int
    layout: int
    union: int
    place: int

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)


class ErofsImage:
    def __init__(self, image: bytes) -> None:
        self.image = image
        assert self._field("I", 0) == 0xE0F5E1E2
        self.block = 1 << self._field("B", 12)
        self.devices = self._field("H", 86)
        self.inodes = self._field("Q", 16)
        assert self._field("I", 36) * self.block == len(image)
        assert self._field("I", 80) == 4 | 8
        self.root = self.inode(self._field("H", 14))

    def device(self, number: int) -> tuple[str, int, int]:
        at = self._field("H", 88) * 128 + (number - 1) * 128
        tag, blocks, address = struct.unpack_from("<64sII", self.image, at)
        return tag.rstrip(b"\0").decode(), blocks, address

    def inode(self, number: int) -> Inode:
        at = number * 32
        layout, xattrs, mode, _, size, union, _, uid, gid, mtime, _, links = struct.unpack_from(
            "<HHHHQIIIIQII", self.image, at
        )
        assert (layout & 1, xattrs, uid, gid, mtime) == (1, 0, 0, 0, 0)
        return Inode(number=number, mode=mode, size=size, links=links, layout=layout >> 1, union=union, place=at + 64)

    def entries(self, folder: Inode) -> Iterator[tuple[bytes, int, int]]:
        """Name, number of the inode, type; in the order in which they lie there."""
        assert folder.layout == 0
        assert folder.size % self.block == 0
        for block in range(folder.union, folder.union + folder.size // self.block):
            data = self.image[block * self.block : (block + 1) * self.block]
            heads = [
                struct.unpack_from("<QHBB", data, 12 * n) for n in range(struct.unpack_from("<H", data, 8)[0] // 12)
            ]
            ends = [head[1] for head in heads[1:]] + [self.block]
            for (number, start, kind, _), end in zip(heads, ends, strict=True):
                yield data[start:end].rstrip(b"\0"), number, kind

    def lookup(self, folder: Inode, name: bytes) -> Inode:
        """By halves over all names, as the kernel does; finds nothing in what is not sorted."""
        names = list(self.entries(folder))
        low, high = 0, len(names) - 1
        while low <= high:
            middle = (low + high) // 2
            if names[middle][0] == name:
                return self.inode(names[middle][1])
            low, high = (middle + 1, high) if names[middle][0] < name else (low, middle - 1)
        raise FileNotFoundError(name)

    def link(self, inode: Inode) -> str:
        start = inode.place if inode.layout == 2 else inode.union * self.block
        if inode.layout == 2:
            assert start // self.block == (start + inode.size - 1) // self.block
        return self.image[start : start + inode.size].decode(errors="surrogateescape")

    def extents(self, inode: Inode) -> Iterator[tuple[int, int, int]]:
        """Device, offset there, length."""
        if not inode.size:
            assert inode.layout == 0
            return
        assert inode.layout == 4
        assert inode.union >> 5 == 1
        chunk = self.block << (inode.union & 31)
        for index in range(-(-inode.size // chunk)):
            high, device, low = struct.unpack_from("<HHI", self.image, inode.place + 8 * index)
            yield device, (high << 32 | low) * self.block, min(chunk, inode.size - index * chunk)

    def walk(self) -> Iterator[tuple[str, Inode]]:
        """Every path and its inode, the root first; each found by `lookup`."""
        waiting = [("", self.root)]
        for path, inode in waiting:
            yield path, inode
            if not inode.is_folder:
                continue
            for name, number, _ in self.entries(inode):
                if name not in (b".", b".."):
                    found = self.lookup(inode, name)
                    assert found.number == number
                    waiting.append((f"{path}/{name.decode(errors='surrogateescape')}".lstrip("/"), found))

    def _field(self, kind: str, offset: int) -> Any:
        return struct.unpack_from(f"<{kind}", self.image, _SUPERBLOCK + offset)[0]
