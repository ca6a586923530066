"""The metadata image: an EROFS file system whose files lie in other devices, one for each blob. Pure.

The kernel's format (`Documentation/filesystems/erofs.rst`), as small as a tree of whole files in blobs needs it:
extended inodes, chunked files with one chunk index (or a few, beyond a terabyte), folders and links in the image
itself. Nothing in it depends on clock, host or user.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from modelcar.errors import InvalidDocument
from modelcar.mounts.erofs.crc32c import crc32c
from modelcar.mounts.erofs.tree import Folder, Node, folders_of
from modelcar.mounts.plan import MountedFile, MountedLink, MountPlan

__all__ = ["block_size", "metadata_image"]

_MAGIC: Final = 0xE0F5E1E2
_SUPERBLOCK: Final = 1024  # its place
_DEVICES: Final = 1152  # the place of the device table
_DEVICE: Final = struct.Struct("<64sII56x")
_INODE: Final = struct.Struct("<HHHHQIIIIQII16x")
_CHUNK: Final = struct.Struct("<HHI")
_DIRENT: Final = struct.Struct("<QHBB")
_NID: Final = 32  # bytes; an inode's number is its place in these
_PLACES: Final = 64  # inodes lie at multiples of this, so that none crosses a block

_CHECKSUM: Final = 1  # feature_compat
_CHUNKED, _DEVICE_TABLE = 4, 8  # feature_incompat
_PLAIN, _INLINE, _CHUNKS = 1, 5, 9  # data layouts, of extended inodes
_INDEXES: Final = 0x20  # chunks are named by 8-byte indexes
_FILE, _FOLDER, _LINK = 1, 2, 7  # types in folders
_NOWHERE: Final = 0xFFFFFFFF
_MAX_CHUNK_BITS: Final = 31


@dataclass(slots=True, kw_only=True)
class _Inode:
    """What is laid out: a node at `place`; `blocks` are of a folder or of a long link, from block `start`."""

    node: Node
    place: int
    blocks: tuple[bytes, ...] | None = None
    start: int = 0


def block_size(plan: MountPlan) -> int:
    """4096 where every payload starts at a multiple of it and ends in a block that is wholly in its blob, or 512.

    Raises `InvalidDocument` if 512 does not do either: tars are made of such blocks, but a blob that is no tar may end
    in the midst of one, and the kernel reads whole blocks.
    """
    for size in (4096, 512):
        if all(_fits(plan, file, size) for file in plan.files):
            return size
    raise InvalidDocument(f"mount plan: files of {plan.reference} do not lie in whole blocks of 512 bytes")


def _fits(plan: MountPlan, file: MountedFile, size: int) -> bool:
    end = file.offset + file.size
    return not file.size or (file.offset % size == 0 and end + -end % size <= plan.blobs[file.blob].size)


def metadata_image(plan: MountPlan) -> bytes:
    """The image; device n of it (from 1) is blob n - 1. Raises `InvalidDocument` for what EROFS cannot show."""
    block = block_size(plan)
    inodes = _placed(folders_of(plan), _DEVICES + _DEVICE.size * len(plan.blobs), block)
    last = inodes[-1]
    used = _up(last.place + _inode_size(last.node, block), block)
    for inode in inodes:
        inode.start = used // block
        if isinstance(inode.node, Folder):
            inode.blocks = tuple(_folder_blocks(inode.node, {}, block))  # numbers follow; they change no size
        elif isinstance(inode.node, MountedLink) and not _is_inline(inode.node, block):
            inode.blocks = (inode.node.target.encode(errors="surrogateescape"),)
        used += _up(sum(map(len, inode.blocks or ())), block)
    image = bytearray(used)
    numbers = {id(inode.node): inode.place // _NID for inode in inodes}
    for index, inode in enumerate(inodes):
        _write_inode(image, inode, number=index + 1, block=block)
        if isinstance(inode.node, Folder):
            inode.blocks = tuple(_folder_blocks(inode.node, numbers, block))
        content = b"".join(inode.blocks or ())
        image[inode.start * block : inode.start * block + len(content)] = content
    for index, blob in enumerate(plan.blobs):
        _DEVICE.pack_into(image, _DEVICES + index * _DEVICE.size, blob.digest.hex[:64].encode(), 0, 0)
    _write_superblock(image, plan, root=inodes[0].place // _NID, inodes=len(inodes), block=block)
    return bytes(image)


def _placed(root: Folder, place: int, block: int) -> list[_Inode]:
    """All nodes, the root first: its number has but 16 bits."""
    inodes = []
    nodes: list[Node] = [root]
    for node in nodes:  # grows as we go: breadth first
        if isinstance(node, Folder):
            nodes += node.entries.values()
        place = _up(place, _PLACES)
        size = _inode_size(node, block)
        if isinstance(node, MountedLink) and place % block + size > block:
            place = _up(place, block)  # what stands behind an inode does not cross a block
        inodes.append(_Inode(node=node, place=place))
        place += size
    return inodes


def _inode_size(node: Node, block: int) -> int:
    if isinstance(node, MountedFile):
        return _INODE.size + _CHUNK.size * _chunks(node, block)[1]
    if isinstance(node, MountedLink) and _is_inline(node, block):
        return _INODE.size + len(node.target.encode(errors="surrogateescape"))
    return _INODE.size


def _is_inline(link: MountedLink, block: int) -> bool:
    return _INODE.size + len(link.target.encode(errors="surrogateescape")) <= block


def _chunks(file: MountedFile, block: int) -> tuple[int, int]:
    """The bits of a chunk's size, in blocks, and how many chunks there are: one, if that can be."""
    bits = min(max(0, (-(-file.size // block) - 1).bit_length()), _MAX_CHUNK_BITS)
    return bits, -(-file.size // (block << bits))


def _folder_blocks(folder: Folder, numbers: dict[int, int], block: int) -> Iterator[bytes]:
    """Blocks of entries and then their names, sorted by bytes over all of them: the kernel searches by halves."""
    entries: list[tuple[bytes, Node]] = sorted(
        [(b".", folder), (b"..", folder.parent), *folder.entries.items()], key=lambda entry: entry[0]
    )
    held: list[tuple[bytes, Node]] = []
    free = block
    for entry in entries:
        need = _DIRENT.size + len(entry[0])
        if need > free:
            yield _folder_block(held, numbers, block)
            held, free = [], block
        held.append(entry)
        free -= need
    yield _folder_block(held, numbers, block)


def _folder_block(entries: list[tuple[bytes, Node]], numbers: dict[int, int], block: int) -> bytes:
    at = _DIRENT.size * len(entries)
    heads = b""
    for name, node in entries:
        kind = _FOLDER if isinstance(node, Folder) else _FILE if isinstance(node, MountedFile) else _LINK
        heads += _DIRENT.pack(numbers.get(id(node), 0), at, kind, 0)
        at += len(name)
    return (heads + b"".join(name for name, _ in entries)).ljust(block, b"\0")


def _write_inode(image: bytearray, inode: _Inode, *, number: int, block: int) -> None:
    node = inode.node
    size, links, where, extra = sum(map(len, inode.blocks or ())), 1, inode.start, b""
    if isinstance(node, Folder):
        layout, mode, links = _PLAIN, stat.S_IFDIR | 0o755, 2 + sum(1 for _ in node.folders)
    elif isinstance(node, MountedLink):
        layout, mode = _PLAIN, stat.S_IFLNK | 0o777
        if inode.blocks is None:
            layout, where, extra = _INLINE, 0, node.target.encode(errors="surrogateescape")
            size = len(extra)
    else:
        layout, mode, size = _PLAIN, stat.S_IFREG | 0o644, node.size
        where = _NOWHERE
        if size:
            bits, count = _chunks(node, block)
            layout, where = _CHUNKS, _INDEXES | bits
            extra = b"".join(_chunk(node, (n << bits) + node.offset // block) for n in range(count))
    _INODE.pack_into(image, inode.place, layout, 0, mode, 0, size, where, number, 0, 0, 0, 0, links)
    image[inode.place + _INODE.size : inode.place + _INODE.size + len(extra)] = extra


def _chunk(file: MountedFile, block: int) -> bytes:
    if block > _NOWHERE - 1:
        raise InvalidDocument(f"mount plan: {file.path!r} lies too far behind in its blob for EROFS")
    return _CHUNK.pack(0, file.blob + 1, block)


def _write_superblock(image: bytearray, plan: MountPlan, *, root: int, inodes: int, block: int) -> None:
    if root > 0xFFFF:
        raise InvalidDocument(f"mount plan: {len(plan.blobs)} blobs are more than EROFS can show")
    fields: list[tuple[int, str, int]] = [
        (0, "I", _MAGIC),
        (8, "I", _CHECKSUM),
        (12, "B", block.bit_length() - 1),
        (14, "H", root),
        (16, "Q", inodes),
        (36, "I", len(image) // block),
        (80, "I", _CHUNKED | _DEVICE_TABLE),
        (86, "H", len(plan.blobs)),
        (88, "H", _DEVICES // _DEVICE.size),
    ]
    for offset, kind, value in fields:
        struct.pack_into(f"<{kind}", image, _SUPERBLOCK + offset, value)
    image[_SUPERBLOCK + 48 : _SUPERBLOCK + 64] = bytes.fromhex(plan.digest.hex[:32])
    covered = block - _SUPERBLOCK if block > _SUPERBLOCK else block
    struct.pack_into("<I", image, _SUPERBLOCK + 4, crc32c(bytes(image[_SUPERBLOCK : _SUPERBLOCK + covered])))


def _up(value: int, step: int) -> int:
    return value + -value % step
