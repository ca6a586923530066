"""What was found in the files of a source, so that the next build of it reads only those that are new."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, Final

from modelcar.checkpoint import CheckpointFile
from modelcar.errors import StorageError
from modelcar.files import FileStamp
from modelcar.scanning.files import FileScanner
from modelcar.scanning.findings import Outcome
from modelcar.scanning.memo import scanned_by
from modelcar.scanning.report import FileReport
from modelcar.store.disk import atomic_write

__all__ = ["FileMemo"]

_MODE: Final = 0o600
_LARGEST: Final = 64 << 20  # bytes of a document


class FileMemo:
    """One document for each source, in a folder that only its owner may read or write. Several threads may ask it.

    A report counts for a file of the same name in the same state (inode, size, times), by the same rules, scanners and
    settings; of one that is not here, if its source says the same sha256 of it that the file which was looked at had.
    Only *clean* ones are kept: whatever else was found is looked at again.
    """

    def __init__(self, folder: Path, source: str) -> None:
        self._folder = folder
        self._path = folder / f"{hashlib.sha256(source.encode()).hexdigest()}.json"
        self._known: dict[str, Any] | None = None
        self._reading = Lock()

    def get(self, file: CheckpointFile, scanner: FileScanner) -> FileReport | None:
        """What a scan before found in `file`; `None` if there was none that counts."""
        try:
            found = self._read(scanner)[file.path]
            if not (_is_promised(found, file) if file.awaited else found["state"] == _state(file.stamp)):
                return None
            report = FileReport.from_dict(found["report"])
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        return report if report.path == file.path and report.outcome is Outcome.CLEAN else None

    def put(
        self,
        found: Iterable[tuple[CheckpointFile, FileReport, int]],
        scanner: FileScanner,
        *,
        complete: bool = True,
    ) -> None:
        """Remember the reports on a source, each with the time (`time_ns`) at which its scan began: all of them, or
        some besides those that are remembered. Files that are here have been found to hash to what the source says.

        A folder that cannot be written to costs time, nothing else.
        """
        known = self._read(scanner)
        files = {} if complete else dict(known)
        for file, report, began_ns in found:
            if report.outcome is not Outcome.CLEAN:
                continue
            if file.awaited and _is_promised(known.get(file.path, {}), file):
                files[file.path] = known[file.path]
            elif not file.awaited and file.stamp.is_settled(began_ns):
                state, sha256 = _state(file.stamp), file.known_sha256
                files[file.path] = {"state": state, "sha256": sha256, "report": report.to_dict()}
        if known == files:
            return
        self._known = files
        content = json.dumps({"by": scanned_by(scanner), "files": files}).encode()
        with suppress(OSError, StorageError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_private(self._folder.lstat(), stat.S_IFDIR):
                atomic_write(self._path, content, mode=_MODE)

    def _read(self, scanner: FileScanner) -> dict[str, Any]:
        with self._reading:  # several files are looked at at once, and the first one's reading is for all
            if self._known is None:
                self._known = self._load(scanner)
            return self._known

    def _load(self, scanner: FileScanner) -> dict[str, Any]:
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            private = _is_private(self._folder.lstat(), stat.S_IFDIR) and _is_private(self._path.lstat())
            if private and self._path.lstat().st_size <= _LARGEST:
                document = json.loads(self._path.read_bytes())
                if document["by"] == scanned_by(scanner):
                    return dict(document["files"])
        return {}


def _is_promised(found: dict[str, Any], file: CheckpointFile) -> bool:
    """Whether this is about the bytes that the source says `file` has."""
    return file.known_sha256 is not None and found.get("sha256") == file.known_sha256


def _state(stamp: FileStamp) -> list[int]:
    return [stamp.device, stamp.inode, stamp.size, stamp.mtime_ns, stamp.ctime_ns]


def _is_private(st: os.stat_result, kind: int = stat.S_IFREG) -> bool:
    return st.st_uid == os.geteuid() and not st.st_mode & 0o077 and stat.S_IFMT(st.st_mode) == kind
