"""Serving one blob to eight clients at a time: the embedded registry beside nginx, from the same file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.measure import CommandFailed, Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Target
from tests.bench.servers import Server, embedded_registry, nginx
from tests.bench.tools import bare, modelcar

__all__ = ["NAME", "run"]

NAME: Final = "serve"
CLIENTS: Final = 8


def run(bench: Bench) -> Outcome:
    ours, theirs = race(
        bench,
        [
            Contender(name="registry-shim", run=_registry_shim),
            Contender(name="nginx", run=_nginx, needs=["nginx"]),
        ],
    )
    both = ours.ran and theirs.ran
    return Outcome(
        name=NAME,
        title=f"Serve a blob to {CLIENTS} clients",
        rows=(ours, theirs),
        targets=(
            Target(
                what="throughput of registry-shim ÷ nginx",
                value=theirs.wall / ours.wall if both else None,
                limit=0.9,
                unit="x",
                at_least=True,
            ),
        ),
        notes=("The clients run on the same cores; they are timed without their start-up.",),
    )


def _registry_shim(run: Run) -> Measurement:
    with _pushed(run) as (server, blob):
        return bare.fetch(run, server, f"/v2/bench/model/blobs/sha256:{blob.name}", blob, CLIENTS)


def _nginx(run: Run) -> Measurement:
    with _pushed(run) as (_, blob), nginx(run.folder, blob.parent) as server:
        return bare.fetch(run, server, f"/{blob.name}", blob, CLIENTS)


@contextmanager
def _pushed(run: Run) -> Iterator[tuple[Server, Path]]:
    """An embedded registry that has the model, and the file of its largest blob."""
    with embedded_registry(run.folder, run.bench.registry_shim) as server:
        modelcar.prepare_build(run, server=server)
        modelcar.prepare_push(run, server)
        blobs = [p for p in server.root.rglob("*") if p.is_file() and p.parent.name == "sha256"]
        if not blobs:
            raise CommandFailed("no blobs are found in the embedded registry's folder")
        yield server, max(blobs, key=lambda p: p.stat().st_size)
