"""The process that scans one image: `python -P -m registry_shim.gate.worker`.

Its standard input is a socket, on which the shim hands over the request and one layer after the other as open files.
It answers on its standard output, a JSON object a line: how far it is, the first malicious layer at once, and at the
end the verdict. Whatever a hostile file does to a parser ends here.
"""

from __future__ import annotations

import base64
import json
import math
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from modelcar.checkpoint.formats.sniff import detect_format
from modelcar.checkpoint.roles import role_of
from modelcar.descriptors import receive
from modelcar.errors import ModelcarError, WorldError
from modelcar.files import reading
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.fetch import ImageSource
from modelcar.scanning.blobs import blocks
from modelcar.scanning.content import Content
from modelcar.scanning.findings import Finding, Outcome, Severity, outcome_of
from modelcar.scanning.image import scan_image
from modelcar.scanning.layers import ScannedLayer
from modelcar.scanning.plugins.loading import load_plugins
from modelcar.scanning.report import FileReport, Report
from modelcar.scanning.settings import ScanSettings
from registry_shim.gate.confine import confine

__all__ = ["ScanRequest", "main"]

_BLOCK: Final = 256 << 10
_MESSAGE: Final = 4096  # bytes that name a layer
_MOST_REASONS: Final = 20
_MOST_FORMATS: Final = 50
_ZIP: Final = b"PK\x03\x04"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRequest:
    """What to scan, and how. `documents` are the image's manifests, indexes and configurations."""

    subject: str
    root: Descriptor
    documents: Mapping[Digest, bytes]
    spool: Path
    seconds: float
    threads: int
    memory: int
    niceness: int
    trusted_layers: tuple[str, ...] = ()
    scanners: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        data = {
            "subject": self.subject,
            "root": self.root.to_dict(),
            "documents": {str(digest): base64.b64encode(raw).decode() for digest, raw in self.documents.items()},
            "spool": str(self.spool),
            "seconds": self.seconds,
            "threads": self.threads,
            "memory": self.memory,
            "niceness": self.niceness,
            "trustedLayers": list(self.trusted_layers),
            "scanners": list(self.scanners),
        }
        return json.dumps(data).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> ScanRequest:
        data = json.loads(raw)
        return cls(
            subject=data["subject"],
            root=Descriptor.from_dict(data["root"]),
            documents={Digest.parse(d): base64.b64decode(raw) for d, raw in data["documents"].items()},
            spool=Path(data["spool"]),
            seconds=data["seconds"],
            threads=data["threads"],
            memory=data["memory"],
            niceness=data["niceness"],
            trusted_layers=tuple(data["trustedLayers"]),
            scanners=tuple(data["scanners"]),
        )


class _Received:
    """Layers as open files, in the order in which the shim has them."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._files: dict[str, int] = {}
        self._ended = False
        self._changed = threading.Condition()
        threading.Thread(target=self._receive, name="layers", daemon=True).start()

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[Content]:
        fd = self._wait(descriptor.digest)
        read_at = reading(fd, descriptor.digest.short)
        yield Content(blocks(read_at, descriptor.size, _BLOCK), descriptor.size)

    def _wait(self, digest: Digest) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or str(digest) in self._files)
            if (fd := self._files.get(str(digest))) is None:
                raise WorldError(f"{digest} did not arrive")
            return fd

    def _receive(self) -> None:
        while True:
            try:
                name, fds, _ = receive(self._channel, _MESSAGE, 1)
            except OSError:
                name, fds = b"", []
            with self._changed:
                if name and fds:
                    self._files[name.decode()] = fds[0]
                else:
                    self._ended = True
                self._changed.notify_all()
            if not (name and fds):
                return


@dataclass(frozen=True, slots=True)
class _Source(ImageSource):
    """The image's documents, and small layers as they arrive."""

    request: ScanRequest
    received: _Received

    def resolve(self) -> Descriptor:
        return self.request.root

    def document(self, descriptor: Descriptor) -> Any:
        raise NotImplementedError

    def open_layer(self, descriptor: Descriptor) -> Any:
        raise NotImplementedError

    def read(self, descriptor: Descriptor) -> bytes:
        content = self.request.documents.get(descriptor.digest)
        if content is None:
            with self.received.open(descriptor) as layer:
                content = layer.read(0, layer.size)
        descriptor.check(content)
        return content


class _Answers:
    """Lines for the shim, from any thread."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._done = 0
        self._told = 0

    def say(self, kind: str, value: Any) -> None:
        line = json.dumps({kind: value})
        with self._lock:
            self._file.write(f"{line}\n")
            self._file.flush()

    def found(self, layer: Descriptor, scanned: ScannedLayer) -> None:
        """Say at once that a layer is malicious: those who are sent it meanwhile have to be cut off."""
        findings = [*scanned.findings, *(f for file in scanned.files for f in file.findings)]
        if evil := [finding for finding in findings if finding.severity is Severity.MALICIOUS]:
            self.say("malicious", {"layer": str(layer.digest), "reasons": reasons(evil)})

    def expect(self, total: int) -> None:
        self.say("total", total)

    def start(self, key: str, label: str, total: int) -> None:
        pass

    def advance(self, key: str, n: int) -> None:  # noqa: ARG002  # the protocol's
        self._done += n
        if self._done - self._told >= 64 << 20:
            self._told = self._done
            self.say("done", self._done)

    def finish(self, key: str, note: str = "") -> None:
        pass


def main() -> None:
    # What a plug-in prints is no answer.
    answers = _Answers(os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii"))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    channel = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    _, fds, _ = receive(channel, _MESSAGE, 1)
    with open(fds[0], "rb") as file:
        file.seek(0)
        request = ScanRequest.from_json(file.read())
    try:
        settings = ScanSettings(
            spool=request.spool,
            trusted_layers=frozenset(map(Digest.parse, request.trusted_layers)),
            plugins=load_plugins(request.scanners),
            workers=request.threads,
        )
        confine(memory=request.memory, seconds=math.ceil(request.seconds), niceness=request.niceness)
        received = _Received(channel)
        source = _Source(request, received)
        report = scan_image(source, received, settings, subject=request.subject, progress=answers, found=answers.found)
        answers.say("verdict", summary(report))
    except ModelcarError as e:
        answers.say("error", str(e))
    except MemoryError:
        answers.say("error", f"the scan takes more than {request.memory >> 20} MiB of memory")


def summary(report: Report) -> dict[str, Any]:
    """What of a report binds this node. What is only forbidden, such as a secret, is not malicious."""
    findings = report.all_findings
    evil = [finding for finding in findings if finding.severity is Severity.MALICIOUS]
    outcome = report.outcome
    if outcome is Outcome.MALICIOUS and not evil:
        outcome = Outcome.UNVERIFIED
    layers = {file.layer for file in report.files if outcome_of(file.findings) is Outcome.MALICIOUS and file.layer}
    formats: dict[str, str] = {}
    for file in report.files:
        name = _format(file)
        if role_of(file.path, name) == "weight":
            formats.setdefault(name, file.path)
    return {
        "outcome": str(outcome),
        "reasons": reasons(findings),
        "layers": sorted(map(str, layers)) if evil else [],
        "formats": sorted(formats.items())[:_MOST_FORMATS],
    }


def _format(file: FileReport) -> str:
    """As model indexes and policies name it: what a zip archive is, its name says."""
    found = file.formats[0] if len(file.formats) == 1 else "unknown"
    return detect_format(file.path, _ZIP, file.size) or found if found == "zip" else found


def reasons(findings: tuple[Finding, ...] | list[Finding]) -> list[str]:
    """The worst first; notes are none."""
    ranks = list(Severity)
    bad = sorted((f for f in findings if f.severity is not Severity.NOTE), key=lambda f: ranks.index(f.severity))
    lines = [f"{f.path}: {f.message}" for f in bad[:_MOST_REASONS]]
    return [*lines, f"and {len(bad) - _MOST_REASONS} more"] if len(bad) > _MOST_REASONS else lines


if __name__ == "__main__":
    main()
