"""Taking mounts down, and which there are. Nothing here touches what is mounted: its server may be dead."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.errors import NotFound, WorldError
from modelcar.mounts import libc
from modelcar.programs import run_program

__all__ = ["Mounted", "holder_of", "mounted", "unmount"]

_ANSWER_SECONDS: Final = 30
_MOUNTS: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """`device` is the kernel's number for the file system, "0:45"; `kind` its type, "fuse.modelcar"."""

    device: str
    kind: str
    source: str


def mounted(target: Path) -> Mounted | None:
    """What is mounted at an absolute path without links in it, on top if there are several."""
    found = None
    for line in _MOUNTS.read_bytes().splitlines():
        before, _, after = line.partition(b" - ")
        fields, (kind, source, *_) = before.split(b" "), after.split(b" ")
        if _plain(fields[4]) == os.fspath(target):
            found = Mounted(device=fields[2].decode(), kind=_plain(kind), source=_plain(source))
    return found


def holder_of(device: str) -> int | None:
    """A process in whose mount namespace a file system is still mounted, as far as we may look."""
    number = f" {device} ".encode()
    for table in Path("/proc").glob("[0-9]*/mountinfo"):
        with suppress(OSError):
            if any(number in line.partition(b" - ")[0] for line in table.read_bytes().splitlines()):
                return int(table.parent.name)
    return None


def unmount(target: Path, *, lazy: bool = False, device: str | None = None) -> None:
    """Take a mount down: with `lazy` at once for everybody who comes, and for its users when they are done with it.

    `device` is the only one to take down. Raises `NotFound` if nothing is mounted there, and `WorldError` if it is in
    use or somebody else's.
    """
    if device is not None and ((found := mounted(target)) is None or found.device != device):
        raise NotFound(f"{target}: what was mounted there is gone")
    try:
        libc.umount(target, libc.MNT_DETACH if lazy else 0)
    except OSError as e:
        if e.errno == errno.EPERM and os.geteuid() != 0:
            _ask_fusermount(target, lazy=lazy)
            return
        if e.errno in (errno.EINVAL, errno.ENOENT):
            raise NotFound(f"{target}: nothing is mounted there") from None
        if e.errno == errno.EBUSY:
            raise WorldError(f"{target}: is in use", hint="end the programs that have files in it open") from None
        raise WorldError(f"{target}: cannot be unmounted: {e.strerror}") from None


def _ask_fusermount(target: Path, *, lazy: bool) -> None:
    """Who mounted by fusermount3 unmounts by it."""
    options = ["-u", *(["-z"] if lazy else [])]
    hint = "install fuse3, or unmount as root"
    ended = run_program("fusermount3", *options, "--", os.fspath(target), seconds=_ANSWER_SECONDS, hint=hint)
    if ended.status:
        said = ended.complaint
        if "not found" in said or "Invalid argument" in said:
            raise NotFound(f"{target}: nothing of yours is mounted there")
        raise WorldError(f"{target}: cannot be unmounted: {said}")


def _plain(field: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), field))
