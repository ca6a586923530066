"""PyTorch's zips: a pickle that describes tensors, and their numbers beside it, which nothing else describes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pickletools import genops
from typing import Final

from modelcar.scanning.content import Content
from modelcar.scanning.filescan import FileScan, Malformed
from modelcar.scanning.findings import Rule, Severity, shown
from modelcar.scanning.formats.pickles.rules import STORAGE
from modelcar.scanning.formats.pickles.torch_storages import storages
from modelcar.scanning.formats.pickles.walk import walk
from modelcar.scanning.formats.zips.archive import Archive
from modelcar.scanning.formats.zips.directory import Entry
from modelcar.scanning.limits import LimitExceeded

__all__ = ["RULES", "imports_something", "inspect"]

SCRIPT: Final = Rule(
    id="torch.script",
    severity=Severity.UNVERIFIED,
    title="it is a TorchScript program",
    why="Loading it compiles and runs code that came with the model.",
    fix="Use the weights alone, as safetensors, with code that you trust.",
)
SEVERAL: Final = Rule(
    id="torch.several-checkpoints",
    severity=Severity.UNVERIFIED,
    title="more than one data.pkl is in it",
    why="PyTorch unpickles one of them; which one depends on the order of the members and on its version.",
    fix="Have the file saved anew with torch.save.",
)
RULES: Final = (SCRIPT, SEVERAL)
# What else lies in a checkpoint, and all that may be in it.
_NOTES: Final = {
    "version": re.compile(rb"[0-9]{1,4}\n?"),
    "byteorder": re.compile(rb"little|big"),
    ".format_version": re.compile(rb"[0-9]{1,4}"),
    ".storage_alignment": re.compile(rb"[0-9]{1,8}"),
    ".data/serialization_id": re.compile(rb"[0-9]{1,64}"),
}
_LONGEST_NOTE: Final = 64
_PICKLES: Final = {"data.pkl": "data/", "constants.pkl": "constants/"}
_MOST_PICKLES: Final = 8
_LOOK: Final = 1 << 16  # bytes of a storage
_MOST_OPCODES: Final = 20_000
_NAME: Final = re.compile(r"[^\W\d][\w.]+")


def inspect(archive: Archive) -> None:
    """Find out which members are numbers that a pickle beside them describes, and report what does not fit."""
    found = [(entry, root, name) for entry in archive.entries for root, name in _pickles(entry)]
    if not found:
        return
    checkpoints = [entry for entry, _, name in found if name == "data.pkl"]
    if len(checkpoints) > 1:
        archive.scan.found(SEVERAL, shown(checkpoints[1].name), offset=checkpoints[1].start)
    names = set(archive.names())
    for entry, root, name in found[:_MOST_PICKLES]:
        for note, pattern in _NOTES.items():
            archive.known[root + note] = partial(_is_note, pattern)
        if name == "constants.pkl" or any(other.startswith(root + "code/") for other in names):
            archive.scan.found(SCRIPT, shown(entry.name), offset=entry.start)
        _expect_storages(archive, entry, root + _PICKLES[name], names)


def _pickles(entry: Entry) -> Iterator[tuple[str, str]]:
    """The folder, with its slash, and the kind of pickle, if the member is one: PyTorch does not look at the case."""
    root, slash, name = entry.name.rpartition("/")
    if name.casefold() in _PICKLES:
        yield root + slash, name.casefold()


def _expect_storages(archive: Archive, entry: Entry, folder: str, names: set[str]) -> None:
    with archive.open(entry) as content:
        member = archive.scan.member(entry.name, content)
        try:
            promised = storages(member, walk(member))
        except (Malformed, LimitExceeded):
            return  # reported when the member itself is scanned
    for key, size in promised.items():
        name = folder + key
        if name not in names:
            archive.scan.found(STORAGE, f"{shown(name)} is missing", offset=entry.start)
        elif size is not None:
            archive.known[name] = partial(_is_storage, archive.scan, name, size)


def _is_note(pattern: re.Pattern[bytes], content: Content) -> bool:
    return content.size <= _LONGEST_NOTE and pattern.fullmatch(content.read(0, _LONGEST_NOTE)) is not None


def _is_storage(scan: FileScan, name: str, size: int, content: Content) -> bool:
    if content.size != size:
        scan.found(STORAGE, f"{shown(name)} has {content.size} bytes in place of {size}")
        return False
    return not imports_something(content.read(0, _LOOK))


def imports_something(head: bytes) -> bool:
    """Whether `head` can be read as a pickle up to its first import. Numbers never can, but for a very rare chance."""
    texts: list[str] = []
    try:
        for opcode, argument, _ in islice(genops(head), _MOST_OPCODES):
            if opcode.name in ("GLOBAL", "INST"):
                return all(_NAME.fullmatch(name) for name in str(argument).split(" ", 1))
            if opcode.name == "STACK_GLOBAL":
                return any(_NAME.fullmatch(name) for name in texts)
            if isinstance(argument, str):
                texts.append(argument)
    except ValueError:
        pass
    return False
