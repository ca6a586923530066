"""Array files: numbers of the promised size, or a pickle; one after another, if they were saved so."""

from __future__ import annotations

from functools import partial
from typing import Final

from modelcar.scanning.content import Content
from modelcar.scanning.filescan import FileScan, Format, Malformed, Probe
from modelcar.scanning.findings import Rule, Severity, shown
from modelcar.scanning.formats.numpys.headers import array_type
from modelcar.scanning.formats.pickles.walk import walk
from modelcar.scanning.formats.zips.archive import Archive

__all__ = ["FORMATS", "RULES", "inspect"]

OBJECTS: Final = Rule(
    id="numpy.object-array",
    severity=Severity.UNVERIFIED,
    title="an array of Python objects",
    why="Its elements are a pickle, which numpy runs when it is asked to load such arrays (allow_pickle).",
    fix="Save arrays of numbers or texts; load with allow_pickle=False, which is numpy's default.",
)
NO_ARRAY: Final = Rule(
    id="numpy.not-an-array",
    severity=Severity.UNVERIFIED,
    title="a member of this collection of arrays is no array",
    why="NumPy writes nothing else into an .npz file: somebody added it.",
    fix="Have the file saved anew with numpy.savez.",
)
RULES: Final = (OBJECTS, NO_ARRAY)
_MAGIC: Final = b"\x93NUMPY"
_MAX_HEADER: Final = 1 << 20  # bytes; numpy itself refuses more than 10,000 unless it is told otherwise


def _matches(probe: Probe) -> bool:
    return probe.head.startswith(_MAGIC)


def _scan(scan: FileScan) -> None:
    at = 0
    while at == 0 or scan.content.read(at, len(_MAGIC)) == _MAGIC:
        scan.budget.check_time()
        at = _scan_array(scan, at)


def _scan_array(scan: FileScan, start: int) -> int:
    """Scan the array at `start`; returns where it ends."""
    data, header = _header(scan, start)
    try:
        array = array_type(header)
    except Malformed:
        # Whatever this array is, what follows may be a pickle.
        scan.scan_member("data", scan.content.part(data, scan.size - data))
        raise
    scan.account(start, data - start)
    if array.has_objects:
        scan.found(OBJECTS, offset=start)
        return walk(scan, data).end
    if array.size > scan.size - data:
        raise Malformed(f"the array has {array.size} bytes, and {scan.size - data} are there", data)
    scan.account(data, array.size)
    return data + array.size


def _header(scan: FileScan, start: int) -> tuple[int, str]:
    """Where the data of the array at `start` begins, and the text before it."""
    major, minor = scan.read(start + len(_MAGIC), 2)
    if major not in (1, 2, 3) or minor:
        raise Malformed(f"version {major}.{minor} of array files is not known", start)
    width = 2 if major == 1 else 4
    text = start + len(_MAGIC) + 2 + width
    size = int.from_bytes(scan.read(text - width, width), "little")
    if size > _MAX_HEADER:
        raise Malformed(f"the header of the array has {size} bytes", start)
    header = scan.read(text, size).decode("utf-8" if major == 3 else "latin-1", errors="replace")
    return text + size, header.removesuffix("\n")


def inspect(archive: Archive) -> None:
    """Report members of an .npz file that are no arrays: by its name, or because all of them claim to be some."""
    names = list(archive.names())
    is_collection = archive.scan.name.lower().endswith(".npz")
    if not is_collection and not (names and all(name.endswith(".npy") for name in names)):
        return

    for name in names:
        archive.known[name] = partial(_check_array, archive.scan, name)


def _check_array(scan: FileScan, name: str, content: Content) -> bool:
    if content.read(0, len(_MAGIC)) != _MAGIC:
        scan.found(NO_ARRAY, shown(name))
    return False  # even then it is scanned like any other


FORMATS: Final = (Format(name="numpy", matches=_matches, scan=_scan),)
