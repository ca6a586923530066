"""Memory of a build that is eight times as large; the files are sparse, so that they take no disk."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Final

from tests.bench.measure import Measurement
from tests.bench.model import Model, sparse_model
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Target
from tests.bench.tools import modelcar

__all__ = ["NAME", "run"]

NAME: Final = "memory"
MIB: Final = 1 << 20


def run(bench: Bench) -> Outcome:
    name = f"sparse-{bench.sparse_size // MIB}"
    model = sparse_model(bench.workspace.models / name, bench.sparse_size)

    def build(run: Run) -> Measurement:
        try:
            return modelcar.build(run, model)
        finally:
            _forget(model)

    once = replace(bench, repeats=1)
    (row,) = race(once, [Contender(name=f"modelcar build of {bench.sparse_size // MIB} MiB, sparse", run=build)])
    peak = row.median(lambda m: m.memory) / MIB if row.ran else None
    return Outcome(
        name=NAME,
        title="Memory of a large build",
        rows=(row,),
        targets=(Target(what=f"peak memory at {bench.sparse_size // MIB} MiB", value=peak, limit=120, unit="MiB"),),
    )


def _forget(model: Model) -> None:
    """Drop its zeros from the page cache, where they would displace the other models."""
    for file in model.files:
        fd = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
