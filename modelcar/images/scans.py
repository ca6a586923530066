"""What the command `scan` does, for Python programs.

```python
from modelcar.images.scans import scan

report = scan("./my-model")
print(report.outcome, [finding.message for finding in report.all_findings])
```
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from os import PathLike, fspath
from typing import Any, Final

from modelcar.checkpoint import Checkpoint, open_checkpoint
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.fetch import RegistrySource, StoreSource
from modelcar.progress import SILENT, Progress
from modelcar.scanning.blobs import Blobs, DownloadedBlobs, QuickBlobs, StoredBlobs
from modelcar.scanning.checkpoint import scan_checkpoint
from modelcar.scanning.files import FileScanner
from modelcar.scanning.image import quick_scan_image, scan_image
from modelcar.scanning.memo import ReportMemo
from modelcar.scanning.report import Report
from modelcar.scanning.settings import ScanSettings
from modelcar.scanning.verdict import scan_predicate
from modelcar.signing.places import LayoutPlace, RegistryPlace, documents
from modelcar.store import Store
from modelcar.store.tree import children

__all__ = ["predicates", "quick_scan", "scan", "scan_at"]

_DEFAULTS: Final = ScanSettings()


def scan(
    source: str | PathLike[str] | Checkpoint,
    settings: ScanSettings = _DEFAULTS,
    *,
    subject: str | None = None,
    progress: Progress = SILENT,
) -> Report:
    """Scan a checkpoint: what `open_checkpoint` takes, a single file of any kind, or what `open_checkpoint` returned.

    Args:
        subject: what to call it; by default as it is named here.

    Raises:
        SourceError: there is nothing to scan.
        WorldError: a file cannot be read, or changed meanwhile.
    """
    if isinstance(source, Checkpoint):
        return scan_checkpoint(source, settings, progress, subject=subject)
    checkpoint = open_checkpoint(source, complete=False)
    return scan_checkpoint(checkpoint, settings, progress, subject=subject or fspath(source))


def scan_at(
    place: LayoutPlace | RegistryPlace,
    root: Descriptor,
    settings: ScanSettings = _DEFAULTS,
    *,
    subject: str,
    here: Store | None = None,
    memo: ReportMemo | None = None,
    progress: Progress = SILENT,
) -> Report:
    """Scan every byte of the image `root`, wherever it is.

    Args:
        here: a store whose blobs need not be downloaded.
        memo: where a report by the present rules may be, and where this one goes.

    Raises:
        InvalidContent: it is not what its digest says.
        WorldError, NotFound: something cannot be had.
    """
    scanner = FileScanner(settings)
    known = memo.get(root.digest, scanner) if memo is not None else None
    if known is not None:
        return replace(known, subject=subject)
    source: StoreSource | RegistrySource
    if isinstance(place, LayoutPlace):
        source = StoreSource(place.layout, root)
        blobs: Blobs = StoredBlobs(place.layout)
    else:
        source = RegistrySource(place.at(root.digest), place.registry)
        blobs = DownloadedBlobs(
            registry=place.registry, ref=place.ref, here=here, spool=settings.spool, progress=progress
        )
    report = scan_image(source, blobs, settings, subject=subject, progress=progress)
    if memo is not None:
        memo.put(root.digest, report, scanner)
    return report


def quick_scan(
    place: RegistryPlace,
    root: Descriptor,
    settings: ScanSettings = _DEFAULTS,
    *,
    subject: str,
    progress: Progress = SILENT,
) -> Report:
    """Look at the headers of a remote image's files: at most 1 MiB of its layers is read, and nothing is called clean.

    Raises:
        InvalidContent: a document is not what its digest says.
        WorldError: the registry refuses or cannot be reached.
    """
    source = RegistrySource(place.at(root.digest), place.registry)
    blobs = QuickBlobs(registry=place.registry, ref=place.ref)
    report = quick_scan_image(source, blobs, settings, subject=subject, progress=progress)
    return replace(report, facts={**report.facts, "bytesRead": blobs.read})


def predicates(
    place: LayoutPlace | RegistryPlace, root: Descriptor, report: Report
) -> Iterator[tuple[Descriptor, dict[str, Any]]]:
    """What `report`, on the image `root`, makes a scanner sign of it and of every manifest in it.

    Whoever runs one manifest asks about that one. Each gets the verdict on its own files: *malicious* is for ever, and
    an index may list a manifest that somebody else published, beside one that is evil.
    """
    parts: dict[Digest, set[Digest]] = {}
    for subject in documents(place, root):
        listed = [child.digest for child in children(place.document(subject))]
        blobs = parts[subject.digest] = set().union(*(parts.get(digest, {digest}) for digest in listed))
        yield subject, scan_predicate(report if subject.digest == root.digest else report.within(blobs))
