"""Git LFS pointers: what stands in a weight file's place where it was never downloaded."""

from __future__ import annotations

import re
from typing import Final

from modelcar.scanning.filescan import FileScan, Format, Probe
from modelcar.scanning.findings import Rule, Severity

__all__ = ["FORMATS", "RULES"]

POINTER: Final = Rule(
    id="file.lfs-pointer",
    severity=Severity.UNVERIFIED,
    title="not the file itself but a pointer of Git LFS to it",
    why="Whoever fetches what it points to gets a file that was never scanned.",
    fix="Run `git lfs pull` in the repository, or download the model with the Hub's own client, then scan again.",
)
_POINTER: Final = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[0-9]-[a-z]{1,32} sha256:[0-9a-f]{64}\n){0,8}"
    rb"oid sha256:[0-9a-f]{64}\nsize [0-9]{1,20}\n?"
)
_LONGEST: Final = 1024  # bytes; git-lfs itself reads no longer ones


def _matches(probe: Probe) -> bool:
    return probe.size <= _LONGEST and _POINTER.fullmatch(probe.head) is not None


def _scan(scan: FileScan) -> None:
    size = scan.read_all().rpartition(b"size ")[2].strip().decode()
    scan.found(POINTER, f"the file has {size} bytes")
    scan.account_for_all()


# Whatever its name says, nothing else can be in so few bytes of so strict a form.
FORMATS: Final = (Format(name="git-lfs-pointer", matches=_matches, scan=_scan, sole=True),)
RULES: Final = (POINTER,)
