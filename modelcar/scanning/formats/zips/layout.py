"""Whether the members of a zip lie side by side, and what lies between them."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from itertools import islice, pairwise
from typing import Final

from modelcar.scanning.expansion import Expansion, Inflater
from modelcar.scanning.filescan import FileScan, Malformed
from modelcar.scanning.findings import shown
from modelcar.scanning.formats.archives import SPECIAL, Names, report_link
from modelcar.scanning.formats.zips.directory import Entry, view_of
from modelcar.scanning.formats.zips.members import opened
from modelcar.scanning.formats.zips.records import LOCAL, Header, parse_local
from modelcar.scanning.formats.zips.rules import ENCRYPTED, FLAGS, HIDDEN, OVERLAP

__all__ = ["check_entries", "scan_hidden"]

_ENCRYPTED: Final = 0x2041  # encrypted, strongly encrypted, with a masked directory
_ORDINARY: Final = 0x080E  # how hard the compressor tried, a descriptor, a name in UTF-8
_MAX_TARGET: Final = 4096  # bytes of a link's target
_LOOK: Final = 1 << 20  # bytes of a gap that are searched
_MOST_GAPS: Final = 100


def check_entries(scan: FileScan, entries: Sequence[Entry], directory: range) -> None:
    """Report names, kinds and flags that are not as they should be, and members that share bytes.

    `directory` are the bytes that the directory takes.
    """
    names = Names(scan)
    for entry in entries:
        for name in dict.fromkeys(name for view in entry.views for name in view.names):
            names.add(name, entry.start, is_folder=name.endswith("/"))
        _check_flags(scan, entry)
        _check_kind(scan, entry)
    for one, other in pairwise(sorted(entries, key=lambda entry: entry.start)):
        if other.start < one.end:
            scan.found(OVERLAP, f"{shown(one.name)} and {shown(other.name)}", offset=other.start)
    for entry in entries:
        if entry.start < directory.stop and entry.end > directory.start:
            scan.found(OVERLAP, f"{shown(entry.name)} and the directory", offset=entry.start)


def _check_flags(scan: FileScan, entry: Entry) -> None:
    if entry.flags & _ENCRYPTED:
        scan.found(ENCRYPTED, shown(entry.name), offset=entry.start)
    elif odd := entry.flags & ~_ORDINARY:
        scan.found(FLAGS, f"{shown(entry.name)} has {odd:#06x}", offset=entry.start)


def _check_kind(scan: FileScan, entry: Entry) -> None:
    kind = stat.S_IFMT(entry.mode)
    if kind == stat.S_IFLNK:
        with opened(scan, entry, entry.views[0]) as content:
            target = content.read(0, _MAX_TARGET).decode(errors="replace")
        report_link(scan, entry.name, target, entry.start)
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        scan.found(SPECIAL, shown(entry.name), offset=entry.start)


def scan_hidden(scan: FileScan) -> None:
    """Scan the members that lie in no directory: wherever nothing is accounted for and a local header stands."""
    for start, stop in list(islice(scan.gaps(), _MOST_GAPS)):
        at = start + scan.content.read(start, min(_LOOK, stop - start)).find(LOCAL)
        while start <= at < stop:
            scan.budget.check_time()
            try:
                header = parse_local(scan.content, at)
            except Malformed:
                break
            at = _scan_one(scan, header, stop)


def _scan_one(scan: FileScan, header: Header, stop: int) -> int:
    """Scan a member by its own header alone, up to `stop`; returns where the next one begins, -1 if nowhere."""
    view = view_of(header)
    scan.found(HIDDEN, shown(view.names[0]), offset=header.offset)
    size = view.compressed or (stop - header.end if header.has_descriptor else 0)
    stored = scan.content.part(header.end, max(0, min(size, stop - header.end)))
    end = header.end + view.compressed
    if view.method == 0:
        scan.scan_member(view.names[0], stored)
    else:
        expansion = Expansion(scan.budget, Inflater(-15), stored, 0, stored.size)
        with scan.spool(expansion.pieces()) as content:
            scan.scan_member(view.names[0], content if content.size else stored)
        if expansion.end is not None:
            end = header.end + expansion.end
    return _next_header(scan, end, stop)


def _next_header(scan: FileScan, start: int, stop: int) -> int:
    found = scan.content.read(start, min(_LOOK, stop - start)).find(LOCAL)
    return start + found if found >= 0 else -1
