"""The scan beside a build: it costs no time of its own, and nothing is named, signed or sent before its verdict."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Lock, Thread

from modelcar.checkpoint import Checkpoint, CheckpointFile
from modelcar.errors import Denied
from modelcar.layers.bytemap import ByteMap
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.plan import LayerKind, PlannedLayer
from modelcar.registry.cancel import CancelScope
from modelcar.scanning.checkpoint import report_on, scan_checkpoint, scan_file
from modelcar.scanning.filememo import FileMemo
from modelcar.scanning.files import FileScanner
from modelcar.scanning.findings import Finding, Outcome, Severity
from modelcar.scanning.memo import ReportMemo
from modelcar.scanning.report import FileReport, Report
from modelcar.scanning.settings import ScanSettings

__all__ = ["ArrivalGate", "ScanGate", "gated", "remember"]

Upload = Callable[[Descriptor, ByteMap], None]
Ready = Callable[[float], bool]
_MOST_REASONS = 10
_TENSORS_ONLY = frozenset({"safetensors", "gguf"})


class ScanGate:
    """A scan that is under way in a thread of its own."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._done = Event()
        self._report: Report | None = None
        self._failure: BaseException | None = None
        self._held: deque[Callable[[], None]] = deque()

    def require(self) -> Report:
        """Wait for the verdict, and until everything that was held back is on its way.

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
        """`upload`, which begins when the verdict is there, and never if it is *malicious*: then it raises `Denied`."""

        def later(layer: Descriptor, content: ByteMap) -> None:
            with self._lock:
                if not self._done.is_set():
                    self._held.append(lambda: upload(layer, content))
                    return
            self.require()
            upload(layer, content)

        return later

    def ready(self, timeout: float) -> bool:
        """Whether bytes may leave, waited for at most `timeout` seconds.

        Raises:
            Denied, WorldError: as `require`.
        """
        if not self._done.wait(timeout):
            return False
        self.require()
        return True

    def leaving(self, layer: PlannedLayer) -> Ready:  # noqa: ARG002  # the verdict is on all
        """When bytes of `layer` may leave that nobody has the digest of."""
        return self.ready

    def look(self, layer: PlannedLayer) -> None:
        """Nothing: all files are here, and looked at in their own order."""

    def watch(self, layer: Descriptor, content: ByteMap) -> None:  # noqa: ARG002  # an `Upload`
        """Nothing, unless the scan has said no meanwhile: so that a build need not go on until its end.

        Raises:
            Denied, WorldError: as `require`.
        """
        if self._done.is_set():
            self.require()

    def finish(self, report: Report) -> None:
        """The scan is over; what it held back goes its way, or nowhere."""
        while (upload := self._next(report)) is not None:
            upload()

    def fail(self, failure: BaseException) -> None:
        """There will be no verdict."""
        with self._lock:
            self._failure = failure
            self._held.clear()
            self._done.set()

    def _next(self, report: Report) -> Callable[[], None] | None:
        """What is still held; once it is nothing, the verdict is out."""
        with self._lock:
            if self._held and report.outcome is not Outcome.MALICIOUS:
                return self._held.popleft()
            self._held.clear()
            self._report = report
            self._done.set()
            return None


class ArrivalGate:
    """A scan of files that come one after the other: each layer is looked at before it goes on its way.

    No layer waits for files that are not here yet; that all are well is only known at the end, as is the image's name.
    """

    def __init__(
        self, checkpoint: Checkpoint, settings: ScanSettings, subject: str | None, memo: FileMemo | None = None
    ) -> None:
        self._checkpoint, self._subject, self._memo = checkpoint, subject, memo
        self._scanner = FileScanner(settings)
        self._locks: defaultdict[str, Lock] = defaultdict(Lock)
        self._remembering = Lock()
        self._reports: dict[str, FileReport] = {}
        self._looked: list[tuple[CheckpointFile, FileReport, int]] = []  # and when

    def leaving(self, layer: PlannedLayer) -> Ready | None:
        """When bytes of `layer` may leave that nobody has the digest of; `None`: not before they are all here.

        A file that still arrives may leave meanwhile if its header, which was read and checked from afar, says that it
        is nothing but tensors: no loader runs anything of it. It becomes a blob only after `look`. What can hold code
        is looked at before its first byte leaves.
        """
        if layer.is_awaited:
            return (lambda _: True) if all(file.format in _TENSORS_ONLY for file in layer.files) else None

        def ready(_: float) -> bool:
            self._scan(layer)
            return True

        return ready

    def look(self, layer: PlannedLayer) -> None:
        """Scan the files of `layer`, which are what their source promised, once. What is found is remembered at once: a
        build that is killed may not have them here the next time.

        Raises:
            Denied: one of them is *malicious*.
            WorldError: one cannot be read, or changed meanwhile.
        """
        self._scan(layer)
        if self._memo is not None and layer.kind is not LayerKind.FILES:
            paths = {file.path for file in layer.files}
            with self._remembering:
                found = [entry for entry in self._looked if entry[0].path in paths]
                self._memo.put(found, self._scanner, complete=False)

    def _scan(self, layer: PlannedLayer) -> None:
        """Scan the files of `layer`, once.

        Raises:
            Denied: one of them is *malicious*.
            WorldError: one cannot be read, or changed meanwhile.
        """
        for file in layer.files:
            with self._locks[file.path]:
                if file.path not in self._reports:
                    began_ns = time.time_ns()
                    found = self._memo.get(file, self._scanner) if self._memo is not None else None
                    report = found or scan_file(file, self._scanner, self._checkpoint.remote)
                    self._reports[file.path] = report
                    self._looked.append((file, report, began_ns))
            report = self._reports[file.path]
            if report.outcome is Outcome.MALICIOUS:
                raise _denied(report_on(self._checkpoint, [report], self._scanner, subject=self._subject))

    def require(self) -> Report:
        """The verdict on all.

        Raises:
            Denied: it is *malicious*.
        """
        files = [self._reports[file.path] for file in self._checkpoint.files]
        report = report_on(self._checkpoint, files, self._scanner, subject=self._subject)
        if report.outcome is Outcome.MALICIOUS:
            raise _denied(report)
        if self._memo is not None:
            self._memo.put(self._looked, self._scanner)
        return report

    def hold(self, upload: Upload) -> Upload:
        """`upload`: `look` has come before."""
        return upload

    def watch(self, layer: Descriptor, content: ByteMap) -> None:
        """Nothing: `look` has come before."""


@contextmanager
def gated(
    checkpoint: Checkpoint, settings: ScanSettings, subject: str | None = None, memo: FileMemo | None = None
) -> Iterator[ScanGate | ArrivalGate]:
    """Scan `checkpoint` while the block runs; leaving it early ends the scan. `subject` is what people call it, and
    `memo` has what was found in its files before, where it comes from elsewhere."""
    if checkpoint.remote is not None:
        yield ArrivalGate(checkpoint, settings, subject, memo)
        return
    gate, scope = ScanGate(), CancelScope()

    def work() -> None:
        try:
            scope.run(lambda: gate.finish(scan_checkpoint(checkpoint, settings, subject=subject)))
        except BaseException as e:  # `require` raises it where somebody waits
            gate.fail(e)

    thread = Thread(target=work, name="modelcar-scan")
    try:
        thread.start()
        yield gate
    finally:
        scope.cancel()
        if thread.ident is not None:
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
