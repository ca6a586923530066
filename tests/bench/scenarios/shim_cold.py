"""A blob that the shim does not have, to one client and to 32, beside the upstream itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.bench.measure import Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Target, ratio_target
from tests.bench.tools import bare
from tests.bench.tools.mirror import mirrored

__all__ = ["NAME", "run"]

NAME: Final = "shim-cold"
CROWD: Final = 32
MIB: Final = 1 << 20


def run(bench: Bench) -> Outcome:
    peaks: list[int] = []

    def through(clients: int) -> Callable[[Run], Measurement]:
        def fetch(run: Run) -> Measurement:
            with mirrored(run, peaks) as here:
                return bare.fetch(run, here.shim, here.path, here.blob, clients)

        return fetch

    def direct(run: Run) -> Measurement:
        with mirrored(run, []) as here:
            return bare.fetch(run, here.upstream, here.upstream_path, here.blob, 1)

    one, crowd, upstream = race(
        bench,
        [
            Contender(name="through the shim, one client", run=through(1)),
            Contender(name=f"through the shim, {CROWD} clients", run=through(CROWD)),
            Contender(name="from the upstream, one client", run=direct),
        ],
    )
    return Outcome(
        name=NAME,
        title="Pull a blob that is not cached",
        rows=(one, crowd, upstream),
        targets=(
            ratio_target("cold pull through the shim ÷ from the upstream", one, upstream, 3.0),
            ratio_target(f"{CROWD} clients cold ÷ {CROWD} times one directly", crowd, upstream, 1.0, factor=CROWD),
            Target(
                what="peak memory of the shim, cold", value=max(peaks) / MIB if peaks else None, limit=200, unit="MiB"
            ),
        ),
        notes=("Over loopback, where an upstream is faster than any network and every byte's hash and copy shows.",),
    )
