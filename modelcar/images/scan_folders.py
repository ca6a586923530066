"""Where scans on this machine keep things: reports for good, layers and members while they are looked at."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from modelcar.scanning.filememo import FileMemo
from modelcar.scanning.memo import ReportMemo
from modelcar.store import default_home
from modelcar.store.spool import hold_spool

__all__ = ["file_memo", "report_memo", "spool_folder"]


def report_memo() -> ReportMemo:
    """This user's reports."""
    return ReportMemo(default_home() / "scans")


def file_memo(source: str) -> FileMemo:
    """What this user's scans found in the files of `source`."""
    return FileMemo(default_home() / "scans" / "sources", source)


def spool_folder() -> Path | None:
    """A folder on the disk of the local store: the system's own for temporary files may be in memory. What this process
    puts there is not taken for left over."""
    folder = default_home() / "spool"
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        hold_spool(folder)
        return folder
    return None
