"""Scanning an image that passes through: its blobs are fetched through the cache, and looked at in another process."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from modelcar.cache.lease import Lease, Purpose
from modelcar.cache.origin import Origin
from modelcar.errors import StorageError, WorldError
from modelcar.oci import Descriptor, Digest
from modelcar.oci.document import MAX_DOCUMENT
from modelcar.packaging.inspect import inspect_image
from modelcar.scanning.findings import Outcome
from modelcar.scanning.version import RULE_SET
from modelcar.signing.places import Place
from registry_shim.gate.examine import contents_of, reader
from registry_shim.gate.process import ScanProcess
from registry_shim.gate.settings import NodeScan
from registry_shim.gate.verdicts import NodeVerdict
from registry_shim.gate.worker import ScanRequest

__all__ = ["Leases", "Scan", "ScanStage"]

_LOOK: Final = 0.1  # seconds between two looks at what has arrived, while the process says nothing


class Leases(Protocol):
    """The blobs of upstreams, through the cache."""

    def lease(self, origin: Origin, descriptor: Descriptor, purpose: Purpose) -> Lease:
        """As `Cache.lease`, cut along its image's model index where there is one. Blocks; from any thread."""


@dataclass(frozen=True, slots=True)
class ScanStage:
    """How far a scan is; `share` is of all bytes, from 0 to 1."""

    doing: str = "waits to be scanned"
    share: float = 0.0

    def __str__(self) -> str:
        return f"it {self.doing}: {self.share:.0%}"


class Scan:
    """One scan of one image. `run` it in a thread that lives on meanwhile; look at `stage` and `cancel` from any."""

    def __init__(
        self, origin: Origin, root: Descriptor, place: Place, leases: Leases, settings: NodeScan, spool: Path
    ) -> None:
        self._origin, self._root, self._place, self._leases = origin, root, place, leases
        self._settings = settings
        self._spool = spool
        self._cancelled = threading.Event()
        self.stage = ScanStage()

    def cancel(self) -> None:
        """Soon `run` raises `WorldError`."""
        self._cancelled.set()

    def run(self) -> NodeVerdict:
        """Fetch what is missing and scan all of it. *malicious* is told as soon as the first such layer is known.

        Raises:
            InvalidContent: something is not what its digest says.
            WorldError, NotFound: something cannot be had, or there was no verdict in time.
        """
        began = time.monotonic()
        documents, blobs = self._documents()
        size = sum(blob.size for blob in blobs)
        contents = {blob.digest for blob in blobs}
        with ExitStack() as stack:
            arrivals = _Arrivals(self._origin, blobs, self._leases, stack)
            process = stack.enter_context(ScanProcess(self._request(documents)))
            answer = self._follow(process, arrivals, size)
        return NodeVerdict(
            digest=self._root.digest,
            outcome=Outcome(answer["outcome"]),
            rule_set=RULE_SET,
            by=NodeVerdict.settings_key(self._settings),
            scanned_at=datetime.now(UTC),
            reasons=tuple(answer["reasons"]),
            # A process that a file has taken over could have other images' layers taken back.
            layers=tuple(d for d in map(Digest.parse, answer["layers"]) if d in documents or d in contents),
            formats=tuple((name, path) for name, path in answer.get("formats", ())),
            size=size,
            seconds=time.monotonic() - began,
        )

    def _documents(self) -> tuple[dict[Digest, bytes], Sequence[Descriptor]]:
        """The documents and small configurations as bytes, and all other blobs."""
        read: dict[Digest, bytes] = {}
        read_one = reader(self._place)

        def remembered(descriptor: Descriptor) -> bytes:
            return read.setdefault(descriptor.digest, read_one(descriptor))

        inspected = inspect_image(self._root, remembered, models=None)
        for each in inspected.manifests:
            if each.manifest.config.size <= MAX_DOCUMENT:
                remembered(each.manifest.config)
        _, blobs = contents_of(inspected)
        return read, [blob for blob in blobs if blob.digest not in read]

    def _request(self, documents: Mapping[Digest, bytes]) -> ScanRequest:
        return ScanRequest(
            subject=f"{self._origin}@{self._root.digest}",
            root=self._root,
            documents=documents,
            spool=self._spool,
            seconds=self._settings.seconds,
            threads=self._settings.threads,
            memory=self._settings.memory,
            niceness=self._settings.niceness,
            trusted_layers=self._settings.trusted_layers,
            scanners=self._settings.scanners,
        )

    def _follow(self, process: ScanProcess, arrivals: _Arrivals, size: int) -> Mapping[str, Any]:
        """Hand over what arrives and listen, until there is a verdict."""
        deadline: float | None = None
        scanned = 0
        while True:
            if self._cancelled.is_set():
                raise WorldError("its scan was given up: the node stops")
            arrivals.deliver(process)
            if arrivals.left == 0 and deadline is None:
                deadline = time.monotonic() + self._settings.seconds
            if deadline is not None and time.monotonic() > deadline:
                raise WorldError(f"its scan came to no verdict within {self._settings.seconds:g} seconds")
            for answer in process.answers(_LOOK):
                match answer:
                    case {"verdict": dict() as verdict}:
                        return verdict
                    case {"malicious": {"layer": layer, "reasons": reasons}}:
                        return {"outcome": Outcome.MALICIOUS, "reasons": reasons, "layers": [layer]}
                    case {"error": str(why)}:
                        raise WorldError(f"its scan came to no verdict: {why}")
                    case {"done": int(done)}:
                        scanned = done
            share = (arrivals.here + scanned) / (2 * size) if size else 1.0
            self.stage = ScanStage(
                "is being fetched and scanned" if arrivals.left else "is being scanned", min(share, 1.0)
            )


class _Arrivals:
    """Blobs on their way, leased as long as the scan lasts."""

    def __init__(self, origin: Origin, blobs: Sequence[Descriptor], leases: Leases, stack: ExitStack) -> None:
        self._leases: dict[Digest, Lease] = {}
        self._ready: SimpleQueue[tuple[Descriptor, Future[None]]] = SimpleQueue()
        self.left = len(blobs)
        for blob in sorted(blobs, key=lambda blob: blob.size):  # the model index is among the small ones
            lease = self._leases[blob.digest] = stack.enter_context(leases.lease(origin, blob, Purpose.SCAN))
            if blob.size:
                lease.need(0, blob.size)
            lease.when(0, blob.size).add_done_callback(partial(self._arrived, blob))

    @property
    def here(self) -> int:
        """Bytes that have arrived, as far as they do without a gap."""
        return sum(lease.available(0) for lease in self._leases.values())

    def deliver(self, process: ScanProcess) -> None:
        """Hand over what has arrived. Raises what a blob failed with."""
        while True:
            try:
                blob, future = self._ready.get_nowait()
            except Empty:
                return
            future.result()
            self.left -= 1
            if not blob.size:
                process.deliver_nothing(blob.digest)
                continue
            file = self._leases[blob.digest].slice(0, blob.size)
            if file.offset:
                raise StorageError(f"{blob.digest} does not lie in a file of its own")
            process.deliver(blob.digest, file.fd)

    def _arrived(self, blob: Descriptor, future: Future[None]) -> None:
        self._ready.put((blob, future))
