"""The reports on images that were scanned on this machine: only new rules make anybody read the bytes again."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelcar.errors import StorageError
from modelcar.oci import Digest
from modelcar.scanning.files import FileScanner
from modelcar.scanning.plugins.rules import FAILED
from modelcar.scanning.report import Report
from modelcar.scanning.version import RULE_SET
from modelcar.store.disk import atomic_write

__all__ = ["ReportMemo", "scanned_by"]

_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class ReportMemo:
    """One file an image, in a folder that only its owner may read or write: whoever else wrote there said nothing."""

    folder: Path

    def get(self, image: Digest, scanner: FileScanner) -> Report | None:
        """What a scan by the present rules, scanners and settings found in `image`; `None` if there was none."""
        try:
            if not (_is_private(self.folder.lstat(), stat.S_IFDIR) and _is_private(self._file(image).lstat())):
                return None
            data = json.loads(self._file(image).read_bytes())
            is_it = data["by"] == scanned_by(scanner) and data["report"]["digest"] == str(image)
            return Report.from_dict(data["report"]) if is_it else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def put(self, image: Digest, report: Report, scanner: FileScanner) -> None:
        """Remember a report on every byte of `image`. A folder that cannot be written to costs time, nothing else.

        Nor is remembered that another scanner failed: it may work the next time.
        """
        if any(finding.rule == FAILED for finding in report.all_findings):
            return
        content = json.dumps({"by": scanned_by(scanner), "report": report.to_dict()}).encode()
        with suppress(OSError, StorageError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_private(self.folder.lstat(), stat.S_IFDIR):
                atomic_write(self._file(image), content, mode=_MODE)

    def forget(self, image: Digest) -> None:
        """So that it is scanned again."""
        with suppress(OSError):
            self._file(image).unlink()

    def _file(self, image: Digest) -> Path:
        return self.folder / f"{image.algorithm}-{image.hex}.json"


def scanned_by(scanner: FileScanner) -> dict[str, Any]:
    """What a report depends on besides the bytes, for comparison."""
    return {
        "rules": str(RULE_SET),
        "scanners": [[each.name, each.version] for each in scanner.scanners],
        "settings": scanner.settings.described(),
    }


def _is_private(st: os.stat_result, kind: int = stat.S_IFREG) -> bool:
    return st.st_uid == os.geteuid() and not st.st_mode & 0o077 and stat.S_IFMT(st.st_mode) == kind
