"""The kernel's FUSE protocol, as far as a read-only file system speaks it: `include/uapi/linux/fuse.h`, from 7.31 on.

Requests come as one header and a body; a reply is one header, with an `errno` or a body. Pure.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct, error
from typing import Final, Self

from modelcar.errors import InvalidDocument

__all__ = [
    "READ_BUFFER",
    "REPLY_HEADER",
    "ROOT",
    "Attributes",
    "Feature",
    "Init",
    "Opcode",
    "Read",
    "Request",
    "attributes_reply",
    "directory_entry",
    "drop_pages",
    "entry_reply",
    "file_system_reply",
    "init_reply",
    "interrupted",
    "name_of",
    "reply",
    "reply_header",
]

READ_BUFFER: Final = 8192  # bytes: the least that a read from /dev/fuse must offer
REPLY_HEADER: Final = 16  # bytes
ROOT: Final = 1

_VERSION: Final = (7, 31)
_FOREVER: Final = 10 * 365 * 24 * 3600  # seconds; names and sizes of a mount never change
_BLOCK: Final = 4096
_NOTIFY_INVAL_INODE: Final = 2
_LARGEST_ERRNO: Final = 511  # the kernel refuses replies with others, and their readers would wait for ever

_REQUEST: Final = Struct("=IIQQIIIHH")
_REPLY: Final = Struct("=IiQ")
_INIT_IN: Final = Struct("=IIII")
_INIT_OUT: Final = Struct("=IIIIHHIIHHI28x")
_READ_IN: Final = Struct("=QQIIQII")
_INTERRUPT_IN: Final = Struct("=Q")
_ATTRIBUTES: Final = Struct("=QQQQQQIIIIIIIIII")
_ENTRY_OUT: Final = Struct("=QQQQII")
_ATTRIBUTES_OUT: Final = Struct("=QII")
_FILE_SYSTEM_OUT: Final = Struct("=QQQQQIIII24x")
_DIRECTORY_ENTRY: Final = Struct("=QQII")
_INVAL_INODE_OUT: Final = Struct("=Qqq")


class Opcode(IntEnum):
    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    READLINK = 5
    OPEN = 14
    READ = 15
    STATFS = 17
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    READDIRPLUS = 44


class Feature(IntFlag):
    """What kernel and server agree on by INIT."""

    ASYNC_READ = 1 << 0
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    NO_OPEN_SUPPORT = 1 << 17
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    NO_OPENDIR_SUPPORT = 1 << 24
    EXPLICIT_INVAL_DATA = 1 << 25


_ALL: Final = sum(Feature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`unique` names it in the reply; `pid` is the thread that asked, 0 if this process cannot see it."""

    opcode: int
    unique: int
    node: int
    pid: int
    body: bytes

    @classmethod
    def parse(cls, raw: bytes | memoryview) -> Self:
        """Raises `InvalidDocument` for what is shorter than it says, or too short for any request."""
        if len(raw) < _REQUEST.size:
            raise InvalidDocument(f"FUSE request: {len(raw)} bytes are less than its header")
        length, opcode, unique, node, _, _, pid, _, _ = _REQUEST.unpack_from(raw)
        if not _REQUEST.size <= length <= len(raw):
            raise InvalidDocument(f"FUSE request: says {length} bytes and has {len(raw)}")
        return cls(opcode=opcode, unique=unique, node=node, pid=pid, body=bytes(raw[_REQUEST.size : length]))

    def to_bytes(self) -> bytes:
        length = _REQUEST.size + len(self.body)
        return _REQUEST.pack(length, self.opcode, self.unique, self.node, 0, 0, self.pid, 0, 0) + self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """The body of READ, READDIR and READDIRPLUS: bytes, or for folders the place after the last entry and a limit."""

    offset: int
    size: int

    @classmethod
    def parse(cls, body: bytes) -> Self:
        _, offset, size, *_ = _unpack(_READ_IN, body)
        return cls(offset=offset, size=size)

    def to_bytes(self) -> bytes:
        return _READ_IN.pack(0, self.offset, self.size, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Init:
    """What the kernel offers: its version, and `Feature`s."""

    major: int
    minor: int
    max_readahead: int
    features: int

    @classmethod
    def parse(cls, body: bytes) -> Self:
        major, minor, max_readahead, features = _unpack(_INIT_IN, body)
        return cls(major=major, minor=minor, max_readahead=max_readahead, features=features)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """Of a file, folder or link. `mode` has its type, too; sizes are bytes."""

    node: int
    mode: int
    size: int = 0
    links: int = 1
    uid: int = 0
    gid: int = 0

    def to_bytes(self) -> bytes:
        blocks = -(-self.size // 512)
        times = (0, 0, 0, 0, 0, 0)
        return _ATTRIBUTES.pack(
            self.node, self.size, blocks, *times, self.mode, self.links, self.uid, self.gid, 0, _BLOCK, 0
        )


def reply_header(unique: int, length: int) -> bytes:
    """Of a reply with `length` bytes of body."""
    return _REPLY.pack(REPLY_HEADER + length, 0, unique)


def reply(unique: int, body: bytes = b"", *, error: int = 0) -> bytes:
    """A whole reply; with an `errno` there is no body, and one that the kernel does not know is `EIO`."""
    if error == 0:
        return reply_header(unique, len(body)) + body
    return _REPLY.pack(REPLY_HEADER, -error if 0 < error <= _LARGEST_ERRNO else -errno.EIO, unique)


def init_reply(offered: Init, *, request_bytes: int) -> bytes:
    """What we take of what the kernel offers, with up to `request_bytes` in one READ. Raises `InvalidDocument` for a
    version that cannot do what a mount needs."""
    if (offered.major, offered.minor) < _VERSION:
        raise InvalidDocument(f"the kernel speaks FUSE {offered.major}.{offered.minor}, and 7.31 is needed")
    # As many readers may wait for bytes as there are: none of them is to hold up another's.
    background = 0xFFFF
    features = _ALL & offered.features
    pages = request_bytes // _BLOCK
    return _INIT_OUT.pack(*_VERSION, offered.max_readahead, features, background, background, _BLOCK, 1, pages, 0, 0)


def entry_reply(attributes: Attributes | None) -> bytes:
    """The answer to LOOKUP; `None` says that there is no such name, and the kernel may remember that, too."""
    if attributes is None:
        return _ENTRY_OUT.pack(0, 0, _FOREVER, 0, 0, 0) + bytes(_ATTRIBUTES.size)
    return _ENTRY_OUT.pack(attributes.node, 0, _FOREVER, _FOREVER, 0, 0) + attributes.to_bytes()


def attributes_reply(attributes: Attributes) -> bytes:
    return _ATTRIBUTES_OUT.pack(_FOREVER, 0, 0) + attributes.to_bytes()


def directory_entry(name: bytes, attributes: Attributes, after: int, *, plus: bool) -> bytes:
    """One entry of a folder. `after` is the place that a reading which goes on here names.

    With `plus` it carries the attributes, as a LOOKUP of it would, but for "." and "..".
    """
    entry = _DIRECTORY_ENTRY.pack(attributes.node, after, len(name), attributes.mode >> 12) + name
    entry += bytes(-len(entry) % 8)
    if not plus:
        return entry
    return (bytes(_ENTRY_OUT.size + _ATTRIBUTES.size) if name in (b".", b"..") else entry_reply(attributes)) + entry


def file_system_reply(*, size: int, files: int) -> bytes:
    return _FILE_SYSTEM_OUT.pack(-(-size // _BLOCK), 0, 0, files, 0, _BLOCK, 255, _BLOCK, 0)


def drop_pages(node: int) -> bytes:
    """Tells the kernel to forget what it keeps of a file's content."""
    body = _INVAL_INODE_OUT.pack(node, 0, 0)
    return _REPLY.pack(REPLY_HEADER + len(body), _NOTIFY_INVAL_INODE, 0) + body


def name_of(body: bytes) -> bytes:
    """The name in a LOOKUP. Raises `InvalidDocument` for one that does not end."""
    name, end, _ = body.partition(b"\0")
    if not end:
        raise InvalidDocument("FUSE request: a name without its end")
    return name


def interrupted(body: bytes) -> int:
    """The `unique` of the request that an INTERRUPT is about."""
    unique: int = _unpack(_INTERRUPT_IN, body)[0]
    return unique


def _unpack(struct: Struct, body: bytes) -> tuple[int, ...]:
    try:
        return struct.unpack_from(body)
    except error:
        raise InvalidDocument(f"FUSE request: {len(body)} bytes are less than {struct.size}") from None
