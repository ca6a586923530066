"""Weights that are here: through a mount, beside the files themselves."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.measure import Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, ratio_target
from tests.bench.scenarios.peers import model_repositories
from tests.bench.tools.mounts import FRONTS, Front, place
from tests.support.swarm import swarm

__all__ = ["NAME", "run"]

NAME: Final = "lazy-warm"
_REPOSITORY: Final = "org/model"


def run(bench: Bench) -> Outcome:
    root = model_repositories(bench, bench.model)
    files, erofs, fuse, erofs_blobs, fuse_blobs = race(
        bench,
        [
            Contender(name="files", run=_files),
            *(Contender(name=f"{f}, all in memory", run=partial(_mounted, root, f, dropped=False)) for f in FRONTS),
            *(Contender(name=f"{f}, blobs in memory", run=partial(_mounted, root, f, dropped=True)) for f in FRONTS),
        ],
    )
    return Outcome(
        name=NAME,
        title="All weights of a model that is here, through the mount",
        rows=(files, erofs, fuse, erofs_blobs, fuse_blobs),
        targets=tuple(ratio_target(f"{row.name} ÷ files", row, files, 1 / 0.9) for row in (erofs, fuse)),
        notes=("Weights are copied out of mappings in order; where all is in memory, it is the second time.",),
    )


def _files(run: Run) -> Measurement:
    return run.program("mapped", "again", run.bench.model.folder)


def _mounted(root: Path, front: Front, run: Run, *, dropped: bool) -> Measurement:
    (run.folder / "registry").mkdir()
    with swarm(run.folder / "registry", root, None) as nodes:
        here = nodes.network.machine(None)
        with place(run, here.namespace) as at:
            at.program("mapped", "all", f"{nodes.upstream.address}:5000/{_REPOSITORY}:v1", at.folder, front)
            at.await_all()
            if dropped:
                return at.program("mapped", "dropped", at.folder, at.blobs)
            return at.program("mapped", "again", at.folder)
