"""All weights of a model that is not here, through a mount, beside a download of the same bytes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.measure import Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Row, ratio_target
from tests.bench.scenarios.peers import model_repositories
from tests.bench.tools.mounts import FRONTS, Front, place
from tests.support.swarm import swarm

__all__ = ["NAME", "run"]

NAME: Final = "lazy-read"
RATES: Final = (1000, 4000)
STREAMS: Final = 8
_REPOSITORY: Final = "org/model"


def run(bench: Bench) -> Outcome:
    root = model_repositories(bench, bench.model)
    rows: list[Row] = []
    targets = []
    for mbit in RATES:
        name = f"{mbit // 1000} Gbit/s"
        download, *mounts = race(
            bench,
            [
                Contender(name=f"download, {name}", run=partial(_download, root, mbit)),
                *(Contender(name=f"mount and read, {f}, {name}", run=partial(_read, root, mbit, f)) for f in FRONTS),
            ],
        )
        rows += [download, *mounts]
        targets += [ratio_target(f"{row.name} ÷ download", row, download, 1.1) for row in mounts]
    return Outcome(
        name=NAME,
        title="All weights of a cold model, through the mount",
        rows=tuple(rows),
        targets=tuple(targets),
        notes=(
            f"{STREAMS} connections ask for 16 MiB at a time and write into files, unchecked and unsynced.",
            "Mounting is counted, from the start of the command. Weights are copied out of mappings in order.",
            "Registry, network and both ends share this machine's cores.",
        ),
    )


def _download(root: Path, mbit: int, run: Run) -> Measurement:
    blobs = sorted((p for p in root.rglob("blobs/sha256/*") if p.is_file()), key=lambda p: -p.stat().st_size)[:4]
    named = [f"sha256:{path.name}:{path.stat().st_size}" for path in sorted(blobs)]
    target = run.folder / "blobs"
    target.mkdir()
    (run.folder / "registry").mkdir()
    with swarm(run.folder / "registry", root, mbit) as nodes:
        here = nodes.network.machine(mbit)
        with place(run, here.namespace) as at:
            address = f"{nodes.upstream.address}:5000"
            return at.program("download", address, _REPOSITORY, target, STREAMS, *named)


def _read(root: Path, mbit: int, front: Front, run: Run) -> Measurement:
    (run.folder / "registry").mkdir()
    with swarm(run.folder / "registry", root, mbit) as nodes:
        here = nodes.network.machine(mbit)
        with place(run, here.namespace) as at:
            return at.program("mapped", "all", f"{nodes.upstream.address}:5000/{_REPOSITORY}:v1", at.folder, front)
