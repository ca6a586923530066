"""Tar policy v1: a layer as a virtual tar whose bytes are a pure function of paths and contents.

The policy, which golden digests and an independent writer in the tests pin (`docs/formats/layer.md`):

- GNU headers (magic `ustar`, two spaces, NUL); size in base-256 from 8 GiB, octal below; mtime, uid, gid 0; empty owner
  names; device fields NUL; files 0644 (programs 0755), folders 0755.
- Names are relative, UTF-8, folders end in a slash; sorted bytewise; every parent folder is in every layer. A name of
  more than 100 bytes is preceded by a GNU `L` entry and cut to 100 bytes in its own header.
- A payload of 64 KiB or more starts at a multiple of 4096. Before it (and before its `L` entry) stands a PAX `x` entry
  whose only record is a `comment` of spaces that fills its blocks; it is there even if one block is enough.
- Payloads are padded with zeros to 512 bytes; the archive ends with 1024 zero bytes and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from modelcar.errors import UnsafePath
from modelcar.layers.bytemap import ByteMap, FileRange, Literal, Segment, Zeros

__all__ = ["ALIGNMENT", "BLOCK", "POLICY", "Entry", "Payload", "TarMember", "VirtualTar", "build_tar", "file_entry"]

POLICY: Final = "v1"
ALIGNMENT: Final = 4096  # bytes
ALIGN_FROM: Final = 64 << 10  # bytes
BLOCK: Final = 512
_NAME_FIELD = 100
_OCTAL_LIMIT = 8 << 30  # 11 octal digits
_TRAILER = Zeros(2 * BLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file to be put into a layer: its path there (relative, `/` between parts) and where its bytes are."""

    path: str
    content: FileRange | Literal | ByteMap
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """Where a file's bytes lie in the blob: `[offset, offset + size)`."""

    path: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TarMember:
    """A file or folder as its headers describe it, for tables of contents.

    Attributes:
        name: as in the tar; a folder's ends in a slash.
        offset: of the payload, or where it would be: behind the last header of the member.
        size: of the payload, in bytes.
        comment: of the PAX entry that aligns the payload, if there is one.
    """

    name: str
    offset: int
    size: int
    mode: int
    comment: str = ""

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualTar:
    """A layer that was never written: its bytes, and where the files lie in it, in order.

    `members` are files and folders both.
    """

    content: ByteMap
    payloads: tuple[Payload, ...]
    members: tuple[TarMember, ...]


def build_tar(entries: Iterable[Entry]) -> VirtualTar:
    """Lay out a tar by policy v1. Costs no I/O.

    Raises:
        UnsafePath: a path is absolute, not normal, not UTF-8, a whiteout, there twice, or both file and folder.
    """
    files: dict[str, Entry] = {}
    for entry in entries:
        _check_path(entry.path)
        if entry.path in files:
            raise UnsafePath(f"two sources for one path in the image: {entry.path}")
        files[entry.path] = entry
    names: dict[bytes, Entry | None] = {entry.path.encode(): entry for entry in files.values()}
    for path in files:
        for folder in _parents(path):
            if folder in files:
                raise UnsafePath(f"{folder} is both a file and the folder of {path}")
            names[f"{folder}/".encode()] = None
    return _lay_out([(name, names[name]) for name in sorted(names)])


def _lay_out(names: Sequence[tuple[bytes, Entry | None]]) -> VirtualTar:
    segments: list[Segment] = []
    members = []
    payloads = []
    literal = bytearray()
    offset = 0
    for name, entry in names:
        size = entry.content.size if entry is not None else 0
        mode = 0o755 if entry is None or entry.executable else 0o644
        prologue = _long_name(name) + _header(name, b"0" if entry is not None else b"5", size, mode)
        comment = b""
        if size >= ALIGN_FROM:
            alignment, comment = _alignment(offset + len(literal) + len(prologue))
            literal += alignment
        literal += prologue
        at = offset + len(literal)
        members.append(TarMember(name=name.decode(), offset=at, size=size, mode=mode, comment=comment.decode()))
        if entry is None:
            continue
        content = entry.content
        segments += [Literal(bytes(literal)), *(content.segments() if isinstance(content, ByteMap) else [content])]
        payloads.append(Payload(path=entry.path, offset=at, size=size))
        offset = at + size
        literal = bytearray(-size % BLOCK)
    segments += [Literal(bytes(literal)), _TRAILER]
    return VirtualTar(content=ByteMap(segments), payloads=tuple(payloads), members=tuple(members))


def file_entry(name: str, size: int) -> bytes:
    """The headers of a plain file that needs no alignment."""
    return _long_name(name.encode()) + _header(name.encode(), b"0", size, 0o644)


def _header(name: bytes, typeflag: bytes, size: int, mode: int, *, posix: bool = False) -> bytes:
    """One 512-byte header block: old GNU by default, POSIX ustar for a PAX entry."""
    block = bytearray(BLOCK)
    block[0 : min(len(name), _NAME_FIELD)] = name[:_NAME_FIELD]
    block[100:108] = b"%07o\0" % mode
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:136] = b"%011o\0" % size if size < _OCTAL_LIMIT else b"\x80" + size.to_bytes(11, "big")
    block[136:148] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = typeflag
    block[257:265] = b"ustar\x0000" if posix else b"ustar  \0"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _long_name(name: bytes) -> bytes:
    """The GNU `L` entry that carries a name too long for its header, or nothing."""
    if len(name) <= _NAME_FIELD:
        return b""
    payload = name + b"\0"
    return _header(b"././@LongLink", b"L", len(payload), 0o644) + payload + bytes(-len(payload) % BLOCK)


def _alignment(end: int) -> tuple[bytes, bytes]:
    """The PAX entry after which a payload that would start at `end` starts at a multiple of 4096, and its comment."""
    size = -(end + BLOCK) % ALIGNMENT or ALIGNMENT
    key = b"%d comment=" % size
    comment = b" " * (size - len(key) - 1)
    return _header(b"././@PaxHeader", b"x", size, 0o644, posix=True) + key + comment + b"\n", comment


def _check_path(path: str) -> None:
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise UnsafePath(f"{path!r} is not a relative path that a tar can hold")
    if any(part.startswith(".wh.") for part in parts):
        raise UnsafePath(f"{path!r} would make container engines delete files: .wh. marks a whiteout", hint="rename it")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UnsafePath(f"{path!r} is not valid UTF-8", hint="rename it") from None


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]
