"""Serving a blob from the shim's cache to eight clients at a time, beside nginx on the same file."""

from __future__ import annotations

import time
from typing import Final

from tests.bench.measure import CommandFailed, Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Target
from tests.bench.servers import nginx
from tests.bench.tools import bare
from tests.bench.tools.mirror import Mirrored, mirrored

__all__ = ["NAME", "run"]

NAME: Final = "shim-serve"
CLIENTS: Final = 8
MIB: Final = 1 << 20
_KEPT: Final = 60.0  # seconds


def run(bench: Bench) -> Outcome:
    peaks: list[int] = []

    def shim(run: Run) -> Measurement:
        with mirrored(run, peaks) as here:
            _fill(run, here)
            return bare.fetch(run, here.shim, here.path, here.cached, CLIENTS)

    def by_nginx(run: Run) -> Measurement:
        with mirrored(run, []) as here:
            _fill(run, here)
            with nginx(run.folder, here.cached.parent) as server:
                return bare.fetch(run, server, f"/{here.cached.name}", here.cached, CLIENTS)

    contenders = [Contender(name="from the shim's cache", run=shim)]
    contenders.append(Contender(name="nginx, the same file", run=by_nginx, needs=["nginx"]))
    ours, theirs = race(bench, contenders)
    both = ours.ran and theirs.ran
    ratio = theirs.wall / ours.wall if both else None
    return Outcome(
        name=NAME,
        title=f"Serve a cached blob to {CLIENTS} clients",
        rows=(ours, theirs),
        targets=(
            Target(what="throughput of the shim's cache ÷ nginx", value=ratio, limit=0.9, unit="x", at_least=True),
            Target(what="peak memory of the shim", value=max(peaks) / MIB if peaks else None, limit=200, unit="MiB"),
        ),
        notes=("The clients run on the same cores; they are timed without their start-up.",),
    )


def _fill(run: Run, here: Mirrored) -> None:
    bare.fetch(run, here.shim, here.path, here.blob, 1)
    deadline = time.monotonic() + _KEPT
    while not here.cached.exists():  # it is written out before it counts, and the last client does not wait for that
        if time.monotonic() > deadline:
            raise CommandFailed("the shim has not kept the blob")
        time.sleep(0.1)
