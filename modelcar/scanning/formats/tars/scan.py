"""A tar: each member scanned as whatever it is, and the whole held against a reader that allows nothing odd."""

from __future__ import annotations

from typing import Final

from modelcar.errors import InvalidContent
from modelcar.layers.members import locate_members
from modelcar.scanning.filescan import FileScan, Format, Probe
from modelcar.scanning.findings import Rule, Severity, shown
from modelcar.scanning.formats.archives import SPECIAL, Names, leaves, report_link, report_name
from modelcar.scanning.formats.tars.entries import BLOCK, Entry, entries, is_header

__all__ = ["FORMATS", "RULES"]

DISAGREEMENT: Final = Rule(
    id="tar.disagreement",
    severity=Severity.UNVERIFIED,
    title="programs disagree about a member",
    why="What one program unpacks another does not see, or sees under another name or with another length: what was "
    "checked need not be what is used.",
    fix="Unpack it where that does no harm, look at the files and pack them anew.",
)
RULES: Final = (DISAGREEMENT,)


def _matches(probe: Probe) -> bool:
    return is_header(probe.head[:BLOCK])


def _scan(scan: FileScan) -> None:
    names = Names(scan)
    files: dict[str, tuple[int, int]] = {}
    is_plain = True
    for entry in entries(scan):
        is_plain &= _check(scan, entry, names)
        size = entry.end - entry.data
        if entry.is_file:
            scan.scan_member(entry.name, scan.content.part(entry.data, size))
            files[entry.name.removeprefix("./")] = (entry.data, size)
        scan.account(entry.data, size)
        padding = scan.content.read(entry.end, entry.next - entry.end)
        if not any(padding):
            scan.account(entry.end, len(padding))
    if is_plain:
        _compare(scan, files)


def _check(scan: FileScan, entry: Entry, names: Names) -> bool:
    """Report what is wrong with a member by itself or beside the others; returns whether it is an ordinary one."""
    names.add(entry.name, entry.start, is_folder=entry.is_folder)
    if entry.own_name != entry.name and leaves(entry.own_name):
        report_name(scan, entry.own_name, entry.start)  # for programs to which extension headers mean nothing
    if entry.odd:
        scan.found(DISAGREEMENT, f"{shown(entry.name)}: {entry.odd}", offset=entry.start)
    if entry.is_symbolic_link:
        report_link(scan, entry.name, entry.link, entry.start)
    elif entry.is_hard_link:
        report_link(scan, entry.name, entry.link, entry.start, folder="")
    elif entry.is_special:
        scan.found(SPECIAL, shown(entry.name), offset=entry.start)
    elif not entry.is_ordinary:
        scan.found(DISAGREEMENT, f"{shown(entry.name)} is of a kind {entry.kind!r}", offset=entry.start)
    return entry.is_ordinary and entry.odd is None


def _compare(scan: FileScan, files: dict[str, tuple[int, int]]) -> None:
    """Report what the strict reader would not accept, or sees otherwise."""
    try:
        strictly = locate_members(scan.content.read, scan.size)
    except InvalidContent as e:
        scan.found(DISAGREEMENT, shown(str(e))[1:-1])
        return
    if files != {path: (payload.offset, payload.size) for path, payload in strictly.items()}:
        scan.found(DISAGREEMENT, "a strict reader finds other files in it")


FORMATS: Final = (Format(name="tar", matches=_matches, scan=_scan),)
