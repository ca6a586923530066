"""One compressed file, of one stream or several behind one another: gzip, bzip2, xz."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from modelcar.scanning.content import Content
from modelcar.scanning.dispatch import LIMIT
from modelcar.scanning.expansion import Decoder, Expansion, Inflater, bz2_decoder, xz_decoder
from modelcar.scanning.filescan import FileScan, Format, Malformed, Probe
from modelcar.scanning.findings import Rule, shown
from modelcar.scanning.formats.archives import DAMAGED, leaves, report_name

__all__ = ["FORMATS", "RULES", "Kind", "scan_packed"]

RULES: Final[tuple[Rule, ...]] = ()
_HAS_CHECKSUM, _HAS_FIELDS, _HAS_NAME, _HAS_COMMENT, _RESERVED = 0x02, 0x04, 0x08, 0x10, 0xE0
_MAX_NAME: Final = 4096  # bytes
_TRAILER: Final = 8  # bytes: CRC-32, and the size modulo 2**32
# What a file is called once it is unpacked.
_ENDINGS: Final = {".tgz": ".tar", ".tbz2": ".tar", ".tbz": ".tar", ".txz": ".tar", ".gz": "", ".bz2": "", ".xz": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of compressed file.

    Attributes:
        magic: what every stream begins with; empty where no second one can follow.
        begin: reads what stands before the data at an offset, and says where that begins.
        end: reads what follows the data, and says where that ends.
    """

    name: str
    decoder: Callable[[], Decoder]
    magic: bytes = b""
    begin: Callable[[FileScan, int], int] = lambda _, start: start
    end: Callable[[FileScan, Expansion, int], int] = lambda _, __, end: end


def _matches(probe: Probe, kind: Kind) -> bool:
    return probe.head.startswith(kind.magic)


def scan_packed(scan: FileScan, kind: Kind) -> None:
    """Scan what comes out of all streams of a file, as far as they go."""
    with scan.spool(_pieces(scan, kind)) as content:
        scan.scan_member(_unpacked_name(scan.name), content)


def _pieces(scan: FileScan, kind: Kind) -> Iterator[bytes]:
    """The content of all streams; what is wrong with them is reported, and what came before counts."""
    at: int | None = 0
    while at is not None and (at == 0 or (kind.magic and scan.content.read(at, len(kind.magic)) == kind.magic)):
        start = at
        try:
            data = kind.begin(scan, start)
        except Malformed as e:
            scan.found(DAMAGED, str(e), offset=start)
            return
        expansion = Expansion(scan.budget, kind.decoder(), scan.content, data, scan.size)
        yield from expansion.pieces()
        at = _finish(scan, kind, expansion, start)
    if at is not None:
        _account_for_zeros(scan, at)


def _finish(scan: FileScan, kind: Kind, expansion: Expansion, start: int) -> int | None:
    """Where the stream that began at `start` ends; `None` if nothing can follow."""
    if expansion.limit:
        scan.found(LIMIT, expansion.limit)
    if expansion.end is None:
        if expansion.problem:
            scan.found(DAMAGED, expansion.problem, offset=start)
        scan.account(start, scan.size - start)  # it has been said already that the rest was not looked at
        return None
    end = kind.end(scan, expansion, expansion.end)
    scan.account(start, end - start)
    return end


def _account_for_zeros(scan: FileScan, start: int) -> None:
    """Programs that write to tapes and disks in blocks fill them with zeros."""
    for piece in scan.content.pieces(start):
        scan.budget.check_time()
        if any(piece):
            return
        scan.account(start, len(piece))
        start += len(piece)


def _unpacked_name(name: str) -> str:
    name = name.rpartition("/")[2]
    for ending, replacement in _ENDINGS.items():
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)] + replacement
    return name


def _begin_gzip(scan: FileScan, start: int) -> int:
    """Where the data of the gzip member at `start` begins.

    Raises:
        Malformed: it is none.
    """
    header = scan.read(start, 10)
    flags = header[3]
    if header[2] != 8 or flags & _RESERVED:
        raise Malformed("its header is not that of gzip", start)
    at = start + 10
    if flags & _HAS_FIELDS:
        size = int.from_bytes(scan.read(at, 2), "little")
        fields = scan.read(at + 2, size)
        if not (size == 6 and fields.startswith(b"BC\x02\0")):  # blocked gzip, as of genomes
            scan.found(DAMAGED, f"{size} bytes of additional fields in its header", offset=at)
        at += 2 + size
    if flags & _HAS_NAME:
        raw, at = _text(scan, at)
        name = raw.decode("latin-1")
        if leaves(name):
            report_name(scan, name, start)
    if flags & _HAS_COMMENT:
        comment, at = _text(scan, at)
        scan.found(DAMAGED, f"a comment in its header: {shown(comment.decode('latin-1'))}", offset=start)
    return at + 2 if flags & _HAS_CHECKSUM else at


def _text(scan: FileScan, at: int) -> tuple[bytes, int]:
    """The text at `at` that ends with a zero byte, and where that is over."""
    text, zero, _ = scan.content.read(at, _MAX_NAME).partition(b"\0")
    if not zero:
        raise Malformed("a name in its header has no end", at)
    return text, at + len(text) + 1


def _end_gzip(scan: FileScan, expansion: Expansion, end: int) -> int:
    trailer = scan.content.read(end, _TRAILER)
    expected = expansion.crc.to_bytes(4, "little") + (expansion.produced % 2**32).to_bytes(4, "little")
    if trailer != expected:
        scan.found(DAMAGED, "its checksum or size is wrong", offset=end)
    return end + len(trailer)


def _behind_padding(content: Content, at: int) -> int:
    """Where the next xz stream begins: zeros may stand before it, four or a multiple of that."""
    while content.read(at, 4) == bytes(4):
        at += 4
    return at


_KINDS: Final = (
    Kind(name="gzip", magic=b"\x1f\x8b", decoder=lambda: Inflater(-15), begin=_begin_gzip, end=_end_gzip),
    Kind(name="bzip2", magic=b"BZh", decoder=bz2_decoder),
    Kind(
        name="xz", magic=b"\xfd7zXZ\0", decoder=xz_decoder, end=lambda scan, _, end: _behind_padding(scan.content, end)
    ),
)
FORMATS: Final = tuple(
    Format(name=kind.name, matches=partial(_matches, kind=kind), scan=partial(scan_packed, kind=kind))
    for kind in _KINDS
)
