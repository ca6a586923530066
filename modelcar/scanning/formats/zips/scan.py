"""A zip: each member scanned as whatever it is, the directory held against the members, every byte accounted for."""

from __future__ import annotations

from typing import Final

from modelcar.scanning.dispatch import MALFORMED
from modelcar.scanning.filescan import FileScan, Format, Malformed, Probe
from modelcar.scanning.findings import Rule, shown
from modelcar.scanning.formats import torch_zips
from modelcar.scanning.formats.archives import ODD_NAME
from modelcar.scanning.formats.numpys import scan as numpys
from modelcar.scanning.formats.zips import rules
from modelcar.scanning.formats.zips.archive import Archive
from modelcar.scanning.formats.zips.directory import Entry, Place, read_entries, readings
from modelcar.scanning.formats.zips.ends import END, END_SIZE, TAIL, End, find_ends
from modelcar.scanning.formats.zips.layout import check_entries, scan_hidden
from modelcar.scanning.formats.zips.members import opened
from modelcar.scanning.formats.zips.records import LOCAL

__all__ = ["FORMATS", "RULES"]

_STARTS: Final = (LOCAL, END, b"PK\x07\x08", b"PK00PK\x03\x04")
_KINDS: Final = (torch_zips.inspect, numpys.inspect)


def _matches(probe: Probe) -> bool:
    """By its beginning or by its end: loaders differ in which of them they look at."""
    if probe.head.startswith(_STARTS):
        return True
    return any(readings(probe.content, offset) for offset in find_ends(probe.tail, probe.size))


def _scan(scan: FileScan) -> None:
    tail = scan.content.read(max(0, scan.size - TAIL), TAIL)
    archives = 0
    for offset in find_ends(tail, scan.size):
        if not any(start <= offset < stop for start, stop in scan.gaps()):
            continue  # inside of a member, or of the end that everybody finds first
        found = readings(scan.content, offset)
        archives += len(found)
        if found and archives > 1:
            scan.found(rules.SEVERAL, offset=offset)
        for end, place in found:
            _scan_archive(scan, end, place)
    scan_hidden(scan)
    if not archives:
        raise Malformed("it has no directory: it was cut off, or is no zip")


def _scan_archive(scan: FileScan, end: End, place: Place) -> None:
    _account_for_end(scan, end)
    if place.shift or place.start + end.size != end.start:
        scan.found(rules.SHIFTED, f"by {end.start - end.size - end.directory} bytes", offset=place.start)
    entries = read_entries(scan, end, place)
    check_entries(scan, entries, range(place.start, place.start + end.size))
    archive = Archive(scan, entries)
    for inspect in _KINDS:
        inspect(archive)
    for entry in entries:
        _scan_entry(archive, entry)


def _account_for_end(scan: FileScan, end: End) -> None:
    scan.account(end.offset, END_SIZE)
    if end.start == end.offset - 76:
        scan.account(end.start, 76)
    if end.comment:
        scan.found(rules.COMMENT, f"of {end.comment} bytes", offset=end.offset)
        scan.account(end.offset + END_SIZE, end.comment)
    if end.odd:
        scan.found(MALFORMED, end.odd, offset=end.offset)


def _scan_entry(archive: Archive, entry: Entry) -> None:
    scan = archive.scan
    for view in entry.views:
        if entry.is_folder:
            if not view.compressed:
                continue
            scan.found(ODD_NAME, f"{shown(entry.name)} is a folder with content", offset=entry.start)
        with opened(scan, entry, view) as content:
            is_known = archive.known.get(view.names[0])
            if is_known and is_known(content):
                continue
            for name in view.names:
                scan.scan_member(name, content)
    scan.account(entry.start, entry.end - entry.start)


FORMATS: Final = (Format(name="zip", matches=_matches, scan=_scan),)
RULES: Final[tuple[Rule, ...]] = (*rules.RULES, *torch_zips.RULES)
