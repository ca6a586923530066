"""The members that a zip's directory lists, each with the header that stands before its data."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from modelcar.scanning.content import Content
from modelcar.scanning.dispatch import MALFORMED
from modelcar.scanning.filescan import FileScan, Malformed
from modelcar.scanning.findings import shown
from modelcar.scanning.formats.zips.ends import End, parse_end
from modelcar.scanning.formats.zips.records import CENTRAL, Central, Header, parse_central, parse_local
from modelcar.scanning.formats.zips.rules import COMMENT, DISAGREEMENT, EXTRA
from modelcar.scanning.limits import LimitExceeded

__all__ = ["Entry", "Place", "View", "read_entries", "readings", "view_of"]

_BETWEEN_CHECKS: Final = 1000  # of the time


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a directory may lie: its first byte, and what is added to the offsets in it."""

    start: int
    shift: int


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a program takes a member for that believes one of its two headers. Sizes are bytes."""

    names: tuple[str, ...]
    method: int
    compressed: int
    size: int
    crc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A member.

    Attributes:
        views: that of the directory first; another one if its own header contradicts it.
        start: where its own header begins.
        data: where its data begins.
        end: behind its data and the descriptor that may follow.
    """

    views: tuple[View, ...]
    flags: int
    mode: int
    start: int
    data: int
    end: int

    @property
    def name(self) -> str:
        return self.views[0].names[0]

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")


def readings(content: Content, offset: int) -> list[tuple[End, Place]]:
    """The archives that programs may find by the end record at `offset`: one, if it is honest."""
    found: dict[tuple[int, int, int], tuple[End, Place]] = {}
    for end in parse_end(content.read, offset, content.size):
        for place in _places(end):
            if _is_plausible(content, end, place) or (end.size == end.entries == 0 and end.directory == end.start):
                found.setdefault((place.start, place.shift, end.size), (end, place))
    return list(found.values())


def _places(end: End) -> list[Place]:
    """Where the directory may lie: once if the record tells the truth; else where it says, and right before it."""
    before = end.start - end.size
    found = [Place(start=end.directory, shift=0)]
    if before >= 0 and before != end.directory:
        found.append(Place(start=before, shift=before - end.directory))
    return found


def _is_plausible(content: Content, end: End, place: Place) -> bool:
    """Whether a program would find members there."""
    return 0 < end.size <= end.start - place.start and content.read(place.start, 4) == CENTRAL


def read_entries(scan: FileScan, end: End, place: Place) -> list[Entry]:
    """The members that the directory at `place` lists; accounts for the directory itself.

    Raises:
        LimitExceeded: there are too many.
    """
    scan.budget.check_piece(end.size)
    data = scan.content.read(place.start, end.size)
    entries: list[Entry] = []
    at = count = 0
    while at < len(data):
        count += 1
        if count > scan.budget.limits.members:
            raise LimitExceeded(f"it lists more than {scan.budget.limits.members} members")
        if count % _BETWEEN_CHECKS == 0:
            scan.budget.check_time()
        try:
            central, at = parse_central(data, at, place.start + at)
        except Malformed as e:
            scan.found(MALFORMED, str(e), offset=e.offset)
            break
        entry = _entry(scan, central, place)
        if entry:
            entries.append(entry)
        if central.comment:
            scan.found(COMMENT, shown(_names(central.header)[0]), offset=central.header.offset)
        scan.account(central.header.offset, central.header.end - central.header.offset)
    if count != end.entries:
        scan.found(DISAGREEMENT, f"the directory lists {count} members, its end {end.entries}", offset=end.offset)
    return entries


def _entry(scan: FileScan, central: Central, place: Place) -> Entry | None:
    first = view_of(central.header)
    name = shown(first.names[0])
    start = place.shift + central.local_offset
    try:
        local = parse_local(scan.content, start)
    except Malformed:
        scan.found(DISAGREEMENT, f"{name} is listed and not there", offset=central.header.offset)
        return None
    for header in (central.header, local):
        if header.extras.odd:
            scan.found(EXTRA, f"{name}: {header.extras.odd}", offset=header.offset)
    problems = list(_differences(central, local))
    end = local.end + first.compressed
    if end > scan.size:
        problems.append("its data would lie beyond the end of the file")
    if local.has_descriptor:
        length = _descriptor_size(scan.content, end, first)
        end += length
        if not length:
            problems.append("its checksum and sizes do not follow its data")
    if problems:
        scan.found(DISAGREEMENT, f"{name}: {', '.join(problems)}", offset=start)
    return Entry(
        views=_merged(first, _local_view(local, first)),
        flags=central.header.flags | local.flags,
        mode=central.mode,
        start=start,
        data=local.end,
        end=min(end, scan.size),
    )


def view_of(header: Header) -> View:
    """What a program sees that goes by `header` alone."""
    return View(
        names=_names(header),
        method=header.method,
        compressed=header.compressed,
        size=header.size,
        crc=header.crc,
    )


def _local_view(local: Header, central: View) -> View:
    """As `view_of`; what the local header leaves to its descriptor is as the directory says."""
    view = view_of(local)
    if not local.has_descriptor:
        return view
    return replace(
        view,
        compressed=view.compressed or central.compressed,
        size=view.size or central.size,
        crc=view.crc or central.crc,
    )


def _merged(first: View, second: View) -> tuple[View, ...]:
    """Both views, or one with all names if the same data is seen in both."""
    if (first.method, first.compressed) != (second.method, second.compressed):
        return first, second
    return (replace(first, names=tuple(dict.fromkeys(first.names + second.names))),)


def _names(header: Header) -> tuple[str, ...]:
    """All that programs may take for the name, at least one."""
    name = _decoded(header.name)
    names = [name]
    if "\0" in name:
        names.append(name.partition("\0")[0])
    if header.extras.path is not None:
        names.append(_decoded(header.extras.path))
    return tuple(dict.fromkeys(names))


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _differences(central: Central, local: Header) -> Iterator[str]:
    """In what the two headers contradict each other, or themselves."""
    header = central.header
    if central.disk:
        yield "it lies on another volume"
    if local.name != header.name:
        yield f"its own header calls it {shown(_decoded(local.name))}"
    if local.extras.path != header.extras.path:
        yield "only one of them has another name for it"
    if local.flags != header.flags:
        yield f"the flags are {header.flags:#06x} and {local.flags:#06x}"
    if local.method != header.method:
        yield f"the methods are {header.method} and {local.method}"
    for word, one, other in (
        ("checksums", header.crc, local.crc),
        ("sizes", header.size, local.size),
        ("compressed sizes", header.compressed, local.compressed),
    ):
        if other != one and not (other == 0 and local.has_descriptor):
            yield f"the {word} are {one} and {other}"
    known = {0, header.size, header.compressed, central.local_offset}
    for surplus in (header.surplus, local.surplus):
        if surplus is None or not known.issuperset(surplus):
            yield "a field of large sizes says something else"


def _descriptor_size(content: Content, at: int, view: View) -> int:
    """Bytes of the descriptor at `at` that says of a member what the directory says; 0 if there is none."""
    data = content.read(at, 24)
    for sizes in ("<QQ", "<LL"):
        for mark in (b"PK\x07\x08", b""):
            try:
                expected = mark + struct.pack("<L", view.crc) + struct.pack(sizes, view.compressed, view.size)
            except struct.error:  # too large for this kind
                continue
            if data.startswith(expected):
                return len(expected)
    return 0
