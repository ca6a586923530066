"""Where the files in somebody's tar lie, found from its headers alone, without unpacking or trusting it.

Tars that programs disagree about are refused: links, sparse files, two members of one name, two names for one member, a
file in the place of a folder, names that no system can hold, anything after the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from modelcar.errors import InvalidContent
from modelcar.files import ReadAt
from modelcar.layers.tar import BLOCK, Payload

__all__ = ["Members", "locate_members", "read_members"]

_MAX_HEADERS: Final = 1 << 16
_MAX_EXTENSION: Final = 1 << 20  # bytes of a long name, or of PAX records
_MAX_FILL: Final = 1 << 20  # bytes after the end mark; GNU tar fills up to 10 KiB by default
_MAX_PATH: Final = 4096  # bytes; Linux opens no longer ones
_MAX_DEPTH: Final = 128  # folders
_SET_ID: Final = 0o6000
_LARGE: Final = 8 << 30  # bytes; the size field of ustar holds less
_END: Final = bytes(2 * BLOCK)
_FILE, _OLD_FILE, _FOLDER, _LONG_NAME, _PAX = b"0", b"\0", b"5", b"L", b"x"
_KINDS: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"g": "a header for all that follow",
    b"K": "a link",
    b"S": "a sparse file",
}
_OCTAL: Final = re.compile(rb" *([0-7]*)[ \0]*")
_PAX_RECORD: Final = re.compile(rb"([1-9][0-9]{0,6}) ")
# PAX records that change neither what a file holds nor what may be done with it.
_PLAIN_RECORDS: Final = frozenset(
    {b"path", b"size", b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname", b"comment"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """What a tar holds, by path, without a leading `./`.

    Attributes:
        folders: those with an entry of their own.
        privileged: files and folders with more than content and plain permissions, such as set-user-id programs and
            extended attributes, each with what that is.
    """

    files: Mapping[str, Payload]
    folders: frozenset[str]
    privileged: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """The fields of a header block that matter here."""

    kind: bytes
    name: bytes
    mode: int
    size: int


@dataclass(slots=True)
class _Announced:
    """What extension entries have said of the member that comes next."""

    name: bytes | None = None
    size: int | None = None
    has_pax: bool = False
    attribute: str = ""

    @property
    def is_pending(self) -> bool:
        return self.has_pax or self.name is not None


def locate_members(read_at: ReadAt, size: int) -> dict[str, Payload]:
    """The regular files of a tar of `size` bytes by their path. See `read_members`."""
    return dict(read_members(read_at, size).files)


def read_members(read_at: ReadAt, size: int) -> Members:
    """What a tar of `size` bytes holds.

    Reads one block a member, not the payloads. Understands ustar, PAX and GNU headers, base-256 sizes included.

    Raises:
        InvalidContent: it is no tar, is damaged or cut off, or has something in it that is refused.
    """
    return _Scan(read_at, size).run()


class _Scan:
    def __init__(self, read_at: ReadAt, size: int) -> None:
        self._read_at = read_at
        self._size = size
        self._files: dict[str, Payload] = {}
        self._folders: set[str] = set()
        self._privileged: dict[str, str] = {}

    def run(self) -> Members:
        offset, announced = 0, _Announced()
        for _ in range(_MAX_HEADERS):
            block = self._read(offset, BLOCK)
            if not any(block):
                if announced.is_pending:
                    raise InvalidContent(f"a header before byte {offset} belongs to no member")
                self._check_end(offset)
                self._check_parents()
                folders = frozenset(self._folders)
                return Members(files=self._files, folders=folders, privileged=self._privileged)
            header = _parse_header(block, offset)
            offset += BLOCK
            if header.kind in (_LONG_NAME, _PAX):
                content = self._extension(header, offset)
                _announce(announced, header.kind, content, offset)
                offset += _padded(header.size)
            else:
                offset += self._member(header, announced, offset)
                announced = _Announced()
        raise InvalidContent(f"it has more than {_MAX_HEADERS} headers")

    def _member(self, header: _Header, announced: _Announced, offset: int) -> int:
        """Note a file or folder whose payload starts at `offset`; returns how many bytes that takes."""
        raw = header.name if announced.name is None else announced.name
        path = _path(raw, is_folder=header.kind == _FOLDER)
        if header.kind not in (_FILE, _OLD_FILE, _FOLDER):
            kind = _KINDS.get(header.kind, f"of an unknown type {header.kind!r}")
            raise InvalidContent(f"{path!r} in it is {kind}")
        size = header.size if announced.size is None else announced.size
        if header.size not in (0, size) and size < _LARGE:
            raise InvalidContent(f"two sizes for {path!r}, at byte {offset}")
        if path in self._files or (path in self._folders and header.kind != _FOLDER):
            raise InvalidContent(f"{path!r} is in it twice")
        if announced.attribute or (header.kind != _FOLDER and header.mode & _SET_ID):
            self._privileged[path] = announced.attribute or f"mode {header.mode:04o}"
        if header.kind == _FOLDER:
            if size:
                raise InvalidContent(f"{path!r} in it is a folder of {size} bytes")
            self._folders.add(path)
            return 0
        if offset + _padded(size) > self._size:
            raise InvalidContent(f"it ends within {path!r}: it was cut off, or is still being written")
        self._files[path] = Payload(path=path, offset=offset, size=size)
        return _padded(size)

    def _extension(self, header: _Header, offset: int) -> bytes:
        if header.size > _MAX_EXTENSION:
            raise InvalidContent(f"the header at byte {offset - BLOCK} announces {header.size} bytes about one member")
        return self._read(offset, header.size)

    def _check_parents(self) -> None:
        checked = set()
        for path in (*self._files, *self._folders):
            parent = path.rpartition("/")[0]
            while parent and parent not in checked:
                if parent in self._files:
                    raise InvalidContent(f"{path!r} lies within {parent!r}, which is a file")
                checked.add(parent)
                parent = parent.rpartition("/")[0]

    def _check_end(self, offset: int) -> None:
        rest = self._size - offset
        if rest > _MAX_FILL or any(self._read(offset, max(rest, len(_END)))):
            raise InvalidContent(f"something follows its end at byte {offset}")

    def _read(self, offset: int, n: int) -> bytes:
        content = self._read_at(offset, n)
        if len(content) < n:
            raise InvalidContent(f"it ends at byte {offset + len(content)} without an end mark: it was cut off")
        return content


def _padded(size: int) -> int:
    return size + -size % BLOCK


def _parse_header(block: bytes, offset: int) -> _Header:
    where = f"at byte {offset}"
    checksum = _OCTAL.fullmatch(block[148:156])
    if checksum is None or sum(block) - sum(block[148:156]) + 8 * ord(" ") != int(checksum[1] or b"0", 8):
        raise InvalidContent("it is no tar" if offset == 0 else f"the header {where} is damaged")
    name, prefix = (field.partition(b"\0")[0] for field in (block[:100], block[345:500]))
    if block[257:263] == b"ustar\0":
        name = prefix + b"/" + name if prefix else name
    elif block[257:265] not in (b"ustar  \0", bytes(8)) or any(block[345:500]):
        raise InvalidContent(f"the header {where} is of an unknown kind")
    for field in (block[108:116], block[116:124], block[136:148], block[329:337], block[337:345]):
        _number(field, where)
    mode, size = _number(block[100:108], where), _number(block[124:136], where)
    return _Header(kind=block[156:157], name=name, mode=mode, size=size)


def _number(field: bytes, where: str) -> int:
    """Octal digits, or base-256 after a byte 0x80; what is negative or absurdly large is refused with the rest."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    if (match := _OCTAL.fullmatch(field)) is None:
        raise InvalidContent(f"a number in the header {where} is damaged")
    return int(match[1] or b"0", 8)


def _announce(announced: _Announced, kind: bytes, content: bytes, offset: int) -> None:
    """Take in a long name or PAX records whose content lies at `offset`."""
    name, size = None, None
    if kind == _LONG_NAME:
        if not content.endswith(b"\0"):
            raise InvalidContent(f"the long name at byte {offset} is damaged")
        name = content[:-1]
    else:
        if announced.has_pax:
            raise InvalidContent(f"two PAX headers before one member, at byte {offset}")
        announced.has_pax = True
        records = _pax_records(content, offset)
        name, size = records.get(b"path"), _pax_size(records, offset)
        announced.attribute = ", ".join(repr(key)[2:-1] for key in sorted(records.keys() - _PLAIN_RECORDS))
    if name is not None:
        if announced.name is not None:
            raise InvalidContent(f"two names for one member, at byte {offset}")
        announced.name = name
    announced.size = announced.size if size is None else size


def _pax_records(content: bytes, offset: int) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    while content:
        match = _PAX_RECORD.match(content)
        length = int(match[1]) if match else 0
        record, content = content[:length], content[length:]
        key, separator, value = record[match.end() : -1].partition(b"=") if match else (b"", b"", b"")
        if not record.endswith(b"\n") or len(record) != length or not separator or key in records:
            raise InvalidContent(f"the PAX header at byte {offset} is damaged")
        if key.startswith(b"GNU.sparse."):
            raise InvalidContent(f"a sparse file is in it, at byte {offset}")
        records[key] = value
    return records


def _pax_size(records: Mapping[bytes, bytes], offset: int) -> int | None:
    size = records.get(b"size")
    if size is not None and not (size.isdigit() and len(size) <= 20):
        raise InvalidContent(f"the PAX header at byte {offset} is damaged")
    return None if size is None else int(size)


def _path(raw: bytes, *, is_folder: bool) -> str:
    """A member's name as a relative path. The folder `./` itself is the empty path."""
    if len(raw) > _MAX_PATH or raw.count(b"/") > _MAX_DEPTH:
        raise InvalidContent(f"the name {raw[:40]!r}… in it is too long")
    try:
        path = raw.decode()
    except UnicodeDecodeError:
        raise InvalidContent(f"the name {raw!r} in it is not UTF-8") from None
    path = path.removesuffix("/") if is_folder else path
    path = "" if is_folder and path == "." else path.removeprefix("./")
    if "\0" in path or ((path or not is_folder) and any(part in ("", ".", "..") for part in path.split("/"))):
        raise InvalidContent(f"the name {raw!r} in it is no relative path")
    return path
