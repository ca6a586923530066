"""The scan beside a build: it costs no time of its own, and nothing is named, signed or sent before its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Lock, Thread

from modelcar.checkpoint import Checkpoint
from modelcar.errors import Denied
from modelcar.layers.bytemap import ByteMap
from modelcar.oci import Descriptor, Digest
from modelcar.registry.cancel import Cancelled, CancelScope
from modelcar.scanning.checkpoint import scan_checkpoint
from modelcar.scanning.files import FileScanner
from modelcar.scanning.findings import Finding, Outcome, Severity
from modelcar.scanning.memo import ReportMemo
from modelcar.scanning.report import Report
from modelcar.scanning.settings import ScanSettings

__all__ = ["ScanGate", "gated", "remember"]

Upload = Callable[[Descriptor, ByteMap], None]
_MOST_REASONS = 10


class ScanGate:
    """A scan that is under way in a thread of its own."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._done = Event()
        self._report: Report | None = None
        self._failure: BaseException | None = None
        self._held: list[Callable[[], None]] = []

    def require(self) -> Report:
        """Wait for the verdict.

        Raises:
            Denied: it is *malicious*.
            WorldError: a file cannot be read, or changed meanwhile.
        """
        self._done.wait()
        if self._failure is not None:
            raise self._failure
        assert self._report is not None  # noqa: S101  # done without a failure
        if self._report.outcome is Outcome.MALICIOUS:
            raise _denied(self._report)
        return self._report

    def hold(self, upload: Upload) -> Upload:
        """`upload`, which begins when the verdict is there, and never if it is *malicious*."""

        def later(layer: Descriptor, content: ByteMap) -> None:
            with self._lock:
                if not self._done.is_set():
                    self._held.append(lambda: upload(layer, content))
                    return
            self.require()
            upload(layer, content)

        return later

    def finish(self, report: Report | None, failure: BaseException | None) -> None:
        """The scan is over; what it held back goes its way."""
        with self._lock:
            self._report, self._failure = report, failure
            held, self._held = self._held, []
            self._done.set()
        if report is not None and report.outcome is not Outcome.MALICIOUS:
            for upload in held:
                upload()


@contextmanager
def gated(checkpoint: Checkpoint, settings: ScanSettings) -> Iterator[ScanGate]:
    """Scan `checkpoint` while the block runs; leaving it early ends the scan."""
    gate, scope = ScanGate(), CancelScope()

    def run() -> None:
        try:
            report = scan_checkpoint(checkpoint, settings)
        except BaseException as e:
            gate.finish(None, e)
        else:
            gate.finish(report, None)

    def work() -> None:
        try:
            scope.run(run)
        except (Cancelled, Exception) as e:  # before it began, or an upload that has failed elsewhere, too
            gate.finish(None, e)

    thread = Thread(target=work, name="modelcar-scan")
    thread.start()
    try:
        yield gate
    finally:
        scope.cancel()
        thread.join()


def remember(report: Report, image: Digest, memo: ReportMemo, settings: ScanSettings, *, subject: str) -> None:
    """A report on a checkpoint is one on the image that was built of it, where nothing else went into that."""
    whole = replace(report, subject=subject, facts={"digest": str(image), "scope": "everything"})
    memo.put(image, whole, FileScanner(settings))


def _denied(report: Report) -> Denied:
    bad = [f for f in report.all_findings if f.severity in (Severity.MALICIOUS, Severity.FORBIDDEN)]
    reasons = tuple(map(_reason, bad[:_MOST_REASONS]))
    if len(bad) > _MOST_REASONS:
        reasons = (*reasons, f"and {len(bad) - _MOST_REASONS} more")
    return Denied(
        "the scan says no, and nothing was built",
        reasons=reasons,
        hint=f"`modelcar scan {report.subject}` tells why and what to do; --no-scan builds all the same",
    )


def _reason(finding: Finding) -> str:
    return f"{finding.severity}: {finding.path}: {finding.message}"
