"""The scan that goes beside a build, or none: what it holds back, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from modelcar.checkpoint import Checkpoint
from modelcar.images.gate import ArrivalGate, ScanGate, Upload, gated, remember
from modelcar.images.scan_folders import file_memo, report_memo, spool_folder
from modelcar.oci import Digest
from modelcar.packaging.plan import PlannedLayer
from modelcar.packaging.streams import Begin, Stream
from modelcar.registry.upload import BlobSource
from modelcar.registry.uploader import Uploading
from modelcar.scanning.report import Report
from modelcar.scanning.settings import ScanSettings

__all__ = ["BuildScan", "scanning"]


class BuildScan:
    """Safe to use from several threads. Attributes: report: what was found, once `require` has returned."""

    def __init__(self, gate: ScanGate | ArrivalGate | None, settings: ScanSettings) -> None:
        self._gate = gate
        self._settings = settings
        self.report: Report | None = None

    def hold(self, upload: Upload) -> Upload:
        return self._gate.hold(upload) if self._gate is not None else upload

    def look(self, layer: PlannedLayer) -> None:
        if self._gate is not None:
            self._gate.look(layer)

    def stream(self, uploading: Uploading) -> Begin:
        """Layers leave while they are hashed, or even while they arrive, as far as the scan has nothing against it."""

        def begin(layer: PlannedLayer, source: BlobSource | None = None) -> Stream | None:
            ready = self._gate.leaving(layer) if self._gate is not None else (lambda _: True)
            return uploading.begin(layer.label, layer.tar.content, ready, source) if ready is not None else None

        return begin

    @property
    def watch(self) -> Upload | None:
        return self._gate.watch if self._gate is not None else None

    def require(self) -> None:
        """Raises `Denied` where the scan says no."""
        self.report = self._gate.require() if self._gate is not None else None

    def remember(self, image: Digest, name: str) -> None:
        """For an image that has nothing in it but the checkpoint and what is ours."""
        if self.report is not None:
            remember(self.report, image, report_memo(), self._settings, subject=name)


@contextmanager
def scanning(checkpoint: Checkpoint, subject: str | None, *, scan: bool) -> Iterator[BuildScan]:
    """Scan `checkpoint` while the block runs, if that is wanted."""
    settings = ScanSettings(spool=spool_folder())
    if not scan:
        yield BuildScan(None, settings)
        return
    memo = file_memo(subject) if subject is not None and checkpoint.remote is not None else None
    with gated(checkpoint, settings, subject, memo) as gate:
        yield BuildScan(gate, settings)
