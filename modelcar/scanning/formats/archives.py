"""What all archives have in common: the names of their members, and where links in them lead."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from modelcar.scanning.filescan import FileScan
from modelcar.scanning.findings import Rule, Severity, shown
from modelcar.scanning.limits import LimitExceeded

__all__ = ["DAMAGED", "ODD_NAME", "RULES", "SPECIAL", "Names", "leaves", "report_link", "report_name"]

TRAVERSAL: Final = Rule(
    id="archive.path-traversal",
    severity=Severity.MALICIOUS,
    title="a member would be unpacked outside of the folder",
    why="Unpacking it overwrites files elsewhere: start-up scripts, keys, other models.",
    fix="Do not unpack it. There is no honest reason for such a name.",
)
LINK_OUTSIDE: Final = Rule(
    id="archive.link-outside",
    severity=Severity.MALICIOUS,
    title="a link in it leads outside of the folder",
    why="What is unpacked or read through the link afterwards is a file elsewhere on the machine.",
    fix="Do not unpack it. There is no honest reason for such a link.",
)
LINK: Final = Rule(
    id="archive.link",
    severity=Severity.UNVERIFIED,
    title="a link is in it",
    why="What a link leads to depends on who unpacks it, and where.",
    fix="Pack the file itself in place of the link.",
)
SPECIAL: Final = Rule(
    id="archive.special-file",
    severity=Severity.UNVERIFIED,
    title="a device, pipe or something else that is no file is in it",
    why="A model consists of files. Devices give whoever unpacks them as root access to the machine.",
    fix="Do not unpack it; have it packed anew with nothing but files and folders.",
)
DUPLICATE: Final = Rule(
    id="archive.duplicate-name",
    severity=Severity.UNVERIFIED,
    title="two members have one name",
    why="Programs differ in which of them they take, so that what was checked need not be what is loaded.",
    fix="Pack it anew with each file once.",
)
COLLISION: Final = Rule(
    id="archive.colliding-names",
    severity=Severity.UNVERIFIED,
    title="names of members differ only by case or spelling",
    why="On some machines, and to some programs, they are the same file.",
    fix="Rename one of them and pack the archive anew.",
)
ODD_NAME: Final = Rule(
    id="archive.odd-name",
    severity=Severity.UNVERIFIED,
    title="a member has a name that programs read differently",
    why="A name that is cut or changed by one program and not by another hides which file is meant.",
    fix="Rename the file and pack the archive anew.",
)
DAMAGED: Final = Rule(
    id="archive.damaged-member",
    severity=Severity.UNVERIFIED,
    title="a member cannot be read to its end, or is not what the archive says",
    why="A lenient program uses what a strict one refuses; scanners that stop at the error have looked at nothing.",
    fix="Download the file again; if it is as its author published it, ask them to save it anew.",
)
RULES: Final = (TRAVERSAL, LINK_OUTSIDE, LINK, SPECIAL, DUPLICATE, COLLISION, ODD_NAME, DAMAGED)
_MAX_NAME: Final = 4096
_MAX_KEPT: Final = 32 << 20
_MAX_DEPTH: Final = 64  # folders in folders that names are compared of
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_SEPARATORS: Final = re.compile(r"[/\\]")


class Names:
    """The names in one archive, each added once in the order of the members."""

    def __init__(self, scan: FileScan) -> None:
        self._scan = scan
        self._seen: dict[str, str] = {}
        self._folders: set[str] = set()
        self._parents: dict[str, str] = {}
        self._kept = 0  # characters

    def add(self, name: str, offset: int, *, is_folder: bool = False) -> None:
        """Report what is wrong with a name by itself or beside the others; `offset` is where the member begins.

        Raises:
            LimitExceeded: the names are more, or longer, than can be compared.
        """
        if is_folder and name in (".", "./"):
            return
        report_name(self._scan, name, offset)
        path = (name.rstrip("/") if is_folder else name).removeprefix("./")
        key = _folded(path)
        before = self._seen.get(key)
        if before is not None and not (is_folder and before == path and key in self._folders):
            self._scan.found(DUPLICATE if before == path else COLLISION, _pair(before, path), offset=offset)
        self._seen.setdefault(key, path)
        self._keep(len(path))
        if is_folder:
            self._folders.add(key)
        self._add_parents(path, key, offset)

    def _add_parents(self, path: str, key: str, offset: int) -> None:
        if key in self._parents and key not in self._folders:
            self._scan.found(COLLISION, f"{shown(path)} is a file and a folder", offset=offset)
        for parent, spelled in zip(_parents(key), _parents(path), strict=False):
            before = self._parents.get(parent)
            if before is None:
                self._parents[parent] = before = spelled
                self._keep(len(spelled))
            if before != spelled:
                self._scan.found(COLLISION, _pair(before, spelled), offset=offset)
            if parent in self._seen and parent not in self._folders:
                self._scan.found(COLLISION, f"{shown(spelled)} is a file and a folder", offset=offset)

    def _keep(self, characters: int) -> None:
        self._kept += characters
        if self._kept > _MAX_KEPT:
            raise LimitExceeded(f"the names in it have more than {_MAX_KEPT} characters")


def report_name(scan: FileScan, name: str, offset: int) -> None:
    """Report what is wrong with the name of a member by itself."""
    if leaves(name):
        scan.found(TRAVERSAL, shown(name), offset=offset)
    elif _is_odd(name):
        scan.found(ODD_NAME, shown(name), offset=offset)


def report_link(scan: FileScan, name: str, target: str, offset: int, *, folder: str | None = None) -> None:
    """Report a link called `name`. `target` is relative to `folder`, or to that in which the link lies."""
    folder = name.rpartition("/")[0] if folder is None else folder
    outside = leaves(target) if _is_absolute(target) else leaves(f"{folder}/{target}" if folder else target)
    scan.found(LINK_OUTSIDE if outside else LINK, f"{shown(name)} leads to {shown(target)}", offset=offset)


def _pair(one: str, other: str) -> str:
    return shown(one) if one == other else f"{shown(one)} and {shown(other)}"


def _folded(path: str) -> str:
    """Equal for names that some file system or program takes for the same."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")
    for depth in range(1, min(len(parts), _MAX_DEPTH)):
        yield "/".join(parts[:depth])


def _is_absolute(path: str) -> bool:
    return path.startswith(("/", "\\")) or _DRIVE.match(path) is not None


def leaves(path: str) -> bool:
    """Whether a path leads out of the folder that it is relative to, on any kind of system."""
    if _is_absolute(path):
        return True
    depth = 0
    for part in _SEPARATORS.split(path):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            return True
    return False


def _is_odd(name: str) -> bool:
    parts = name.removeprefix("./").removesuffix("/").split("/")
    return (
        len(name) > _MAX_NAME
        or "\\" in name
        or not name.isprintable()
        or any(part in ("", ".", "..") or part != part.rstrip(" .") for part in parts)
    )
