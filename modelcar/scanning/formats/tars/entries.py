"""The members of a tar as a lenient program sees them, whatever a strict one would say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from modelcar.scanning.filescan import FileScan, Malformed

__all__ = ["BLOCK", "Entry", "entries", "is_header"]

BLOCK: Final = 512
_HARD_LINK, _SYMBOLIC_LINK, _FOLDER = b"1", b"2", b"5"
_SPECIAL: Final = (b"3", b"4", b"6")
_WITHOUT_CONTENT: Final = (_HARD_LINK, _SYMBOLIC_LINK, _FOLDER, *_SPECIAL)
_EXTENSIONS: Final = (b"x", b"X", b"g", b"L", b"K")
_MAX_EXTENSION: Final = 1 << 20  # bytes of a long name, or of PAX records
_ASCII: Final = bytes(range(128))
_LARGE: Final = 8 << 30  # bytes; what a size in octal digits cannot say


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A member. Offsets and sizes are bytes.

    Attributes:
        name: after all that extension headers say; `own_name` is what stands in the header itself.
        kind: one byte, as in the header.
        start: where its first header begins, be it an extension's.
        data, end: `[data, end)` is its content.
        odd: what programs would disagree about, in words.
    """

    name: str
    own_name: str
    link: str
    kind: bytes
    start: int
    data: int
    end: int
    odd: str | None = None

    @property
    def is_ordinary(self) -> bool:
        return self.kind in (b"0", b"\0", _FOLDER)

    @property
    def is_folder(self) -> bool:
        # As old programs wrote them, and new ones still read them.
        return self.kind == _FOLDER or (self.kind == b"\0" and self.own_name.endswith("/"))

    @property
    def is_file(self) -> bool:
        """Whether there is content: also that of kinds that nobody knows, which POSIX says are files."""
        return self.kind not in _WITHOUT_CONTENT

    @property
    def is_hard_link(self) -> bool:
        return self.kind == _HARD_LINK

    @property
    def is_symbolic_link(self) -> bool:
        return self.kind == _SYMBOLIC_LINK

    @property
    def is_special(self) -> bool:
        return self.kind in _SPECIAL

    @property
    def next(self) -> int:
        """Where the next header begins."""
        return self.end + -self.end % BLOCK


@dataclass(slots=True)
class _Announced:
    """What extension headers have said of the member that comes next."""

    start: int
    name: bytes | None = None
    link: bytes | None = None
    size: int | None = None
    odd: str | None = None


def is_header(block: bytes) -> bool:
    """Whether these 512 bytes have the checksum that the header of a member has."""
    if len(block) < BLOCK or (stated := _number(block[148:156])) is None:
        return False
    rest = block[:148] + b" " * 8 + block[156:]
    total = sum(rest)
    # Some old programs took bytes for signed.
    return stated == total or stated == total - 256 * len(rest.translate(None, _ASCII))


def entries(scan: FileScan) -> Iterator[Entry]:
    """All members, those behind what most programs take for the end among them; accounts for headers and zeros.

    Raises:
        Malformed: once all is read, if something that is no header stood where one should, or no end.
    """
    announced, at = _Announced(start=0), 0
    end: int | None = None
    damaged: int | None = None
    while at + BLOCK <= scan.size:
        scan.budget.check_time()
        block = scan.read(at, BLOCK)
        if not any(block):
            end = at if end is None else end
            at = _behind_zeros(scan, at)
            announced = _Announced(start=at)
        elif not is_header(block):
            damaged = at if damaged is None else damaged
            at += BLOCK  # as some programs do, too
            announced = _Announced(start=at)
        elif block[156:157] in _EXTENSIONS:
            at = _announce(scan, announced, block, at)
        else:
            if end is not None:
                announced.odd = f"it lies behind the end at byte {end}"
            entry = _entry(scan, announced, block, at)
            yield entry
            scan.account(at, BLOCK)
            at = entry.next
            announced = _Announced(start=at)
    if damaged is not None:
        raise Malformed("something that is no header stands where one should", damaged)
    if end is None:
        raise Malformed("it has no end: it was cut off", min(at, scan.size))


def _entry(scan: FileScan, announced: _Announced, block: bytes, at: int) -> Entry:
    own_name = _own_name(block)
    size = own_size = _size(block)
    odd = announced.odd
    if announced.size is not None:
        size = announced.size
        if own_size != size and not (own_size == 0 and size >= _LARGE):
            odd = f"it has {own_size} bytes to some programs and {size} to others"
    if block[156:157] in _WITHOUT_CONTENT:
        size = 0
    data = at + BLOCK
    if data + size > scan.size:
        odd = "its content is cut off"
    return Entry(
        name=_text(own_name if announced.name is None else announced.name),
        own_name=_text(own_name),
        link=_text(_until_nul(block[157:257]) if announced.link is None else announced.link),
        kind=block[156:157],
        start=announced.start,
        data=data,
        end=min(data + size, scan.size),
        odd=odd,
    )


def _own_name(block: bytes) -> bytes:
    name, prefix = _until_nul(block[:100]), _until_nul(block[345:500])
    return prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name


def _announce(scan: FileScan, announced: _Announced, block: bytes, at: int) -> int:
    """Take in an extension header at `at`; returns where it ends."""
    kind, size = block[156:157], _size(block)
    if size > _MAX_EXTENSION:
        raise Malformed(f"{size} bytes are announced about one member", at)
    content = scan.read(at + BLOCK, size)
    if kind == b"L":
        announced.name = _until_nul(content)
    elif kind == b"K":
        announced.link = _until_nul(content)
    else:
        _take_records(announced, content)
        if kind == b"g":
            announced.odd = "a header for all members stands before it"
    end = at + BLOCK + size
    end += -end % BLOCK
    scan.account(at, end - at)
    return end


def _take_records(announced: _Announced, content: bytes) -> None:
    """PAX records: `length key=value`, each on a line of its own, where the length counts all of it."""
    while content:
        digits = content.partition(b" ")[0]
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        record, content = content[len(digits) + 1 : length], content[length:]
        key, _, value = record.removesuffix(b"\n").partition(b"=")
        if not record:
            announced.odd = "its PAX records are damaged"
            return
        if key == b"path":
            announced.name = value
        elif key == b"linkpath":
            announced.link = value
        elif key == b"size" and value.isdigit() and len(value) <= 20:
            announced.size = int(value)


def _behind_zeros(scan: FileScan, start: int) -> int:
    """Where the first block is that is not all zeros; accounts for those that are."""
    at = start
    for piece in scan.content.pieces(start):
        scan.budget.check_time()
        zeros = len(piece) - len(piece.lstrip(b"\0"))
        at += zeros
        if zeros < len(piece):
            at -= at % BLOCK
            break
    scan.account(start, at - start)
    return at


def _number(field: bytes) -> int | None:
    """What lenient programs read there: octal digits, or base-256 behind a byte that says so; `None` if nothing."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:], "big", signed=field[0] == 0xFF)
    try:
        return int(_until_nul(field).strip() or b"0", 8)
    except ValueError:
        return None


def _size(block: bytes) -> int:
    return max(_number(block[124:136]) or 0, 0)


def _until_nul(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")
