"""Opening what torch.save wrote, in both of its formats, with the scanner's readers: nothing is executed.

Whatever the scanner would report of the pickle or of the zip around it is refused here, and so is what would make two
programs see two models in one file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NoReturn

from modelcar.checkpoint import CheckpointFile
from modelcar.checkpoint.formats.reader import malformed, printable
from modelcar.conversion.unpickled import Unpickled
from modelcar.errors import Denied, MalformedFile, ModelcarError
from modelcar.files import open_unchanged, reading
from modelcar.scanning.content import Content
from modelcar.scanning.filescan import FileScan, Findings, Malformed
from modelcar.scanning.findings import Finding, Severity, shown
from modelcar.scanning.formats.pickles.torch_legacy import is_legacy_torch, read_legacy_torch
from modelcar.scanning.formats.pickles.torch_storages import promised
from modelcar.scanning.formats.pickles.walk import Walked, walk
from modelcar.scanning.formats.zips.archive import Archive
from modelcar.scanning.formats.zips.directory import Entry, read_entries, readings
from modelcar.scanning.formats.zips.ends import TAIL, find_ends
from modelcar.scanning.formats.zips.layout import check_entries
from modelcar.scanning.formats.zips.members import STORED
from modelcar.scanning.limits import Budget, LimitExceeded, Limits

__all__ = ["Extent", "Pickled", "opened_pickle"]

_NO_CHECKSUM: Final = 0  # what torch writes if it is told to compute none
_LIMITS: Final = Limits(members=1_000_000, findings=50)
_LONGEST_NOTE: Final = 64  # bytes
_MOST_LINES: Final = 5  # of findings that are told
_SAVE_ANEW: Final = "have the file saved anew with torch.save, or ask its author for safetensors"
_OF_A_PROGRAM: Final = re.compile(r"pickle\.(unknown-global|embedded-code|indirect-call)")
_WEIGHTS_ONLY: Final = (
    "only tensors in plain containers are converted; where the file is trusted, load it with the program that wrote it"
    " and save its state_dict()"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Where a storage lies in its file, in bytes; `crc` is the CRC-32 that it should have, where that is said."""

    offset: int
    size: int
    crc: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pickled:
    """What was saved, and its storages by their keys."""

    objects: Unpickled
    storages: Mapping[str, Extent]


@contextmanager
def opened_pickle(file: CheckpointFile) -> Iterator[Pickled]:
    """What torch.save put into `file`, for the time of the block; storages are not read.

    Raises:
        Denied: it holds something else than tensors and plain values; the first of it is named, with its place.
        MalformedFile: it is not what torch writes, or its parts contradict each other.
        SourceChanged: it is no longer what it was when the checkpoint was opened.
    """
    fd = open_unchanged(file.source, file.stamp)
    try:
        content = Content(reading(fd, file.path), file.size)
        findings = Findings(_LIMITS.findings)
        scan = FileScan(
            printable(file.path, 400)[1:-1],
            content,
            Budget(limits=_LIMITS, size=content.size),
            findings,
            lambda _: None,
        )
        opened = _zipped if content.read(0, 4).startswith(b"PK") else _legacy
        try:
            with opened(scan) as pickled:
                _refuse(findings.kept)
                yield pickled
        except (Malformed, LimitExceeded) as e:
            _refuse(findings.kept)
            where = f" at byte {e.offset}" if isinstance(e, Malformed) and e.offset is not None else ""
            raise malformed(file.path, f"{e}{where}", hint=_SAVE_ANEW) from None
    finally:
        os.close(fd)


def _refuse(findings: Sequence[Finding]) -> None:
    """Raise if there is any finding that matters, for the worst and first of them."""
    ranks = list(Severity)
    found = [finding for finding in findings if finding.severity is not Severity.NOTE]
    if not found:
        return
    found.sort(key=lambda f: (ranks.index(f.severity), f.offset or 0))
    raise _refusal(found[0], tuple(map(_line, found[1:_MOST_LINES])))


def _refusal(finding: Finding, others: tuple[str, ...]) -> ModelcarError:
    about_pickle = finding.rule.id.startswith("pickle.")
    hint = _WEIGHTS_ONLY if _OF_A_PROGRAM.fullmatch(finding.rule.id) else finding.rule.fix
    kind = Denied if about_pickle else MalformedFile
    return kind(f"{_line(finding)}", reasons=others, hint=hint[0].lower() + hint[1:].rstrip("."))


def _line(finding: Finding) -> str:
    where = f", at byte {finding.offset}" if finding.offset is not None else ""
    return f"{finding.path}: {finding.message}{where}"


# PyTorch's zips


@contextmanager
def _zipped(scan: FileScan) -> Iterator[Pickled]:
    archive = Archive(scan, _entries(scan))
    members = {entry.name: entry for entry in archive.entries if not entry.is_folder}
    pickles = [entry for name, entry in members.items() if name.rpartition("/")[2].casefold() == "data.pkl"]
    if len(pickles) != 1:
        found = f"{len(pickles)} members called data.pkl, of which it needs one" if pickles else "no data.pkl"
        raise Malformed(f"is a zip with {found}: torch.save did not write it so")
    root = pickles[0].name[: -len("data.pkl")]
    if f"{root}constants.pkl" in members or any(name.startswith(f"{root}code/") for name in members):
        raise Malformed("is a TorchScript program, which holds code")
    _check_byte_order(archive, members.get(f"{root}byteorder"))
    with _member(archive, pickles[0]) as content:
        member = scan.member(pickles[0].name, content)
        objects = Unpickled(content)
        walked = walk(member, handlers=objects.handlers)
        if walked.end != content.size:
            raise Malformed(f"{shown(pickles[0].name)} has bytes behind its pickle", walked.end)
        objects.result = walked.result
        yield Pickled(objects=objects, storages=_storages(member, walked, members, f"{root}data/"))


def _entries(scan: FileScan) -> list[Entry]:
    tail = scan.content.read(max(0, scan.size - TAIL), TAIL)
    found = next((found for at in find_ends(tail, scan.size) if (found := readings(scan.content, at))), [])
    if len(found) != 1:
        raise Malformed("is a zip with two directories" if found else "is a zip without a directory: it was cut off")
    end, place = found[0]
    if end.odd or place.shift or place.start + end.size != end.start:
        raise Malformed(end.odd or "is a zip with something before it, or before its end", place.start)
    entries = read_entries(scan, end, place)
    check_entries(scan, entries, range(place.start, place.start + end.size))
    return entries


@contextmanager
def _member(archive: Archive, entry: Entry) -> Iterator[Content]:
    """The data of a small member, its checksum compared if torch was not told to leave that out."""
    view = entry.views[0]
    if view.crc == _NO_CHECKSUM and view.method == STORED and view.size == view.compressed:
        yield archive.scan.content.part(entry.data, view.size)
        return
    with archive.open(entry) as content:
        yield content


def _check_byte_order(archive: Archive, note: Entry | None) -> None:
    if note is not None:
        with _member(archive, note) as content:
            order = content.read(0, _LONGEST_NOTE)
        if order == b"big":
            _refuse_big_endian()
        if order != b"little":
            raise Malformed("says of its byte order neither 'little' nor 'big'", note.data)


def _refuse_big_endian() -> NoReturn:
    raise Malformed("was written on a big-endian machine, whose numbers are not converted")


def _storages(scan: FileScan, walked: Walked, members: Mapping[str, Entry], folder: str) -> dict[str, Extent]:
    extents = {}
    for key, storage in promised(scan, walked).items():
        name = f"{folder}{key}"
        entry = members.get(name)
        if storage is None:
            continue  # contradictory, and reported
        if entry is None:
            raise Malformed(f"has no {shown(name)}, which its pickle names")
        view = entry.views[0]
        if view.method != STORED:
            raise Malformed(f"holds {shown(name)} compressed, which torch never does", entry.start)
        if view.size != storage.size:
            raise Malformed(
                f"holds {view.size} bytes in {shown(name)}, and its pickle says {storage.size}", entry.start
            )
        extents[key] = Extent(offset=entry.data, size=view.size, crc=view.crc or None)
    return extents


# What torch wrote before 1.6


@contextmanager
def _legacy(scan: FileScan) -> Iterator[Pickled]:
    if not scan.size:
        raise Malformed("is empty")
    first = walk(scan)
    if not is_legacy_torch(first):
        raise Malformed("is a pickle that torch.save did not write: it holds no storages that could be copied")
    objects = Unpickled(scan.content)
    legacy = read_legacy_torch(scan, first, handlers=objects.handlers)
    for name, value in objects.pairs(legacy.machine.result) or ():
        if objects.text(name) == "little_endian" and value is False:
            _refuse_big_endian()
    for start, _ in scan.gaps():
        raise Malformed("has bytes that belong to nothing", start)
    objects.result = legacy.objects.result
    places = legacy.places.items()
    storages = {key: Extent(offset=place.start, size=len(place), crc=None) for key, place in places}
    yield Pickled(objects=objects, storages=storages)
