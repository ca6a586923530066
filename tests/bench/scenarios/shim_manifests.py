"""Small requests: a manifest, again and again, from a shim that has one core for itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tests.bench.measure import Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Target
from tests.bench.servers import Server
from tests.bench.tools.mirror import mirrored

__all__ = ["NAME", "run"]

NAME: Final = "shim-manifests"
REQUESTS: Final = 10_000
CONNECTIONS: Final = 16
MIB: Final = 1 << 20


def run(bench: Bench) -> Outcome:
    peaks: list[int] = []

    def ask(run: Run) -> Measurement:
        with mirrored(run, peaks) as here:
            _pin(here.shim)
            return run.program(
                "requests", here.shim.address, here.manifest, str(REQUESTS), str(CONNECTIONS), server=here.shim
            )

    (row,) = race(bench, [Contender(name=f"{REQUESTS:,} requests, {CONNECTIONS} connections", run=ask)])
    return Outcome(
        name=NAME,
        title="Manifests from the shim's cache",
        rows=(row,),
        targets=(
            Target(
                what="manifests a second on one core",
                value=REQUESTS / row.wall if row.ran else None,
                limit=1000,
                unit="/s",
                at_least=True,
            ),
            Target(
                what="peak memory of the shim, manifests",
                value=max(peaks) / MIB if peaks else None,
                limit=200,
                unit="MiB",
            ),
        ),
    )


def _pin(server: Server) -> None:
    """All of its threads, and those that it starts, on the first core."""
    core = min(os.sched_getaffinity(0))
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
