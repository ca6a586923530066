"""modelscan, by Protect AI: dangerous globals in pickles, operators in Keras and TensorFlow models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from modelcar.scanning.findings import Severity
from modelcar.scanning.plugins.interface import FileUnderScan, PluginFinding, ScannerFailed, ScannerPlugin
from modelcar.scanning.plugins.packages import require, version
from modelcar.scanning.plugins.reach import may_hold_pickles

__all__ = ["ModelScan", "plugin"]

_NAME: Final = "modelscan"
_SEVERITIES: Final = {"CRITICAL": Severity.MALICIOUS, "HIGH": Severity.MALICIOUS}
_NOT_ITS_KIND: Final = "SCAN_NOT_SUPPORTED"


class ModelScan(ScannerPlugin):
    name = _NAME

    def version(self) -> str:
        return version(_NAME)

    def wants(self, file: FileUnderScan) -> bool:
        return may_hold_pickles(file)

    def scan(self, file: FileUnderScan) -> Iterator[PluginFinding]:
        from modelscan.modelscan import ModelScan as Scanner

        with file.on_disk() as path:
            report: dict[str, Any] = Scanner().scan(str(path))
        for issue in report["issues"]:
            yield PluginFinding(
                severity=_SEVERITIES.get(issue["severity"], Severity.UNVERIFIED),
                title=f"{issue['severity'].lower()} issue",
                detail=issue["description"],
                member=_member(issue, file),
            )
        yield from _passed_over(report["summary"], file)
        if report["errors"]:
            raise ScannerFailed(report["errors"][0]["description"])


def _passed_over(summary: dict[str, Any], file: FileUnderScan) -> Iterator[PluginFinding]:
    """What it did not look at. It never looks at the storages beside the pickle of a torch file: that is only noted.

    Raises:
        ScannerFailed: it looked at nothing, or passed something over for another reason.
    """
    skipped = summary["skipped"]["skipped_files"]
    for each in skipped:
        if each["category"] != _NOT_ITS_KIND or not _member(each, file):
            raise ScannerFailed(f"it passed over {each['source']}: {each['description']}")
    if not summary["scanned"]["total_scanned"] and skipped:
        raise ScannerFailed("it found nothing that it knows in the archive")
    if skipped:
        more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
        members = f"{_member(skipped[0], file)}{more}"
        yield PluginFinding(severity=Severity.NOTE, title="it did not look at all members", detail=members)


def _member(said: dict[str, Any], file: FileUnderScan) -> str:
    """Of an archive: `source` is `name:member`."""
    prefix = f"{file.name}:"
    return said["source"].removeprefix(prefix) if said["source"].startswith(prefix) else ""


def plugin() -> ModelScan:
    """The entry point."""
    require(_NAME)
    return ModelScan()
