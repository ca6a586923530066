"""A shim in front of an embedded registry that has the model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.measure import CommandFailed
from tests.bench.race import Run
from tests.bench.servers import Server, embedded_registry, mirror
from tests.bench.tools import modelcar

__all__ = ["Mirrored", "Peak", "mirrored"]

_REPOSITORY: Final = "bench/model"
_NAME: Final = "upstream.example"
_TICK: Final = 0.05  # seconds


@dataclass(slots=True)
class Peak:
    """The largest proportional set size that was seen of a process, in bytes."""

    bytes: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def watch(self, pid: int) -> None:
        while not self._over.wait(_TICK):
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:  # it has ended
                return
            sizes = [int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")]
            self.bytes = max([self.bytes, *sizes])

    def end(self) -> None:
        self._over.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """The upstream, the shim before it, and the model's largest blob in the upstream's folder."""

    upstream: Server
    shim: Server
    blob: Path
    manifest: str = f"/v2/{_NAME}/{_REPOSITORY}/manifests/v1"

    @property
    def path(self) -> str:
        """Of the blob at the shim."""
        return f"/v2/{_NAME}/{_REPOSITORY}/blobs/sha256:{self.blob.name}"

    @property
    def upstream_path(self) -> str:
        return f"/v2/{_REPOSITORY}/blobs/sha256:{self.blob.name}"

    @property
    def cached(self) -> Path:
        """The blob in the shim's own folder."""
        return self.shim.root / "blobs" / "sha256" / self.blob.name


@contextmanager
def mirrored(run: Run, peaks: list[int]) -> Iterator[Mirrored]:
    """Both running, the shim's cache empty. The most memory that the shim used is added to `peaks`."""
    program = run.bench.registry_shim
    with embedded_registry(run.folder, program) as upstream:
        modelcar.prepare_build(run, server=upstream)
        modelcar.prepare_push(run, upstream)
        blobs = [p for p in (upstream.root / "blobs").rglob("*") if p.is_file()]
        if not blobs:
            raise CommandFailed("no blobs are found in the embedded registry's folder")
        with mirror(run.folder, program, f"{_NAME}=http://{upstream.address}") as shim:
            peak = Peak()
            watcher = threading.Thread(target=peak.watch, args=(shim.pid,), daemon=True)
            watcher.start()
            yield Mirrored(upstream=upstream, shim=shim, blob=max(blobs, key=lambda p: p.stat().st_size))
            peak.end()
            watcher.join()
            peaks.append(peak.bytes)
