"""buildah: a Containerfile with one COPY a file, a layer each, then a push without compression.

Everything it writes lies in the run's own folder. Its defaults would write one layer and gzip it on the way.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.measure import Measurement
from tests.bench.race import Run
from tests.bench.servers import Server

__all__ = ["build", "clean_up", "push"]


def build(run: Run) -> Measurement:
    """`buildah bud --layers`."""
    containerfile = run.folder / "Containerfile"
    copies = [f"COPY {file.name} /models/{file.name}\n" for file in run.bench.model.files]
    containerfile.write_text("FROM scratch\n" + "".join(copies))
    command: list[str | Path] = ["bud", "--isolation", "chroot", "--layers", "-q", "-t", "bench", "-f", containerfile]
    return run.measure([*_buildah(run), *command, run.bench.model.folder], disk=[_storage(run)])


def push(run: Run, server: Server) -> Measurement:
    """`buildah push`."""
    target = f"docker://{server.address}/bench/model:v1"
    command = ["push", "-q", "--tls-verify=false", "--disable-compression", "bench", target]
    return run.measure([*_buildah(run), *command], server=server)


def clean_up(run: Run) -> None:
    """Take apart what it mounted, so that its folder can be removed."""
    run.prepare([*_buildah(run), "rmi", "--all", "--force"])


def _buildah(run: Run) -> list[str | Path]:
    return ["buildah", "--root", _storage(run), "--runroot", run.folder / "runroot", "--storage-driver", "overlay"]


def _storage(run: Run) -> Path:
    return run.folder / "storage"
