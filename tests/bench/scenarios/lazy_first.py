"""From nothing to the first tensor, through a mount."""

from __future__ import annotations

from functools import partial
from typing import Final

from tests.bench.measure import Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Target
from tests.bench.tools.mounts import FRONTS, Front, place
from tests.support.links import switch
from tests.support.made_up import made_up_model
from tests.support.made_up_registry import made_up_registry, reference

__all__ = ["NAME", "run"]

NAME: Final = "first-tensor"
MBIT: Final = 1000
SIZES: Final = (200, 16_384)
MIB: Final = 1 << 20


def run(bench: Bench) -> Outcome:
    tensor = made_up_model(SIZES[0] * MIB).first_tensor[1]
    contenders = [
        Contender(name=f"{front}, {size / 1024:.1f} GiB", run=partial(_first, front, size))
        for front in FRONTS
        for size in SIZES
    ]
    rows = race(bench, contenders)
    pairs = dict(zip(FRONTS, (rows[:2], rows[2:]), strict=True))
    return Outcome(
        name=NAME,
        title=f"From a cold node to the first tensor, {MBIT} Mbit/s",
        rows=tuple(rows),
        targets=tuple(
            target
            for front, (small, large) in pairs.items()
            for target in (
                Target(
                    what=f"first tensor of 200 MiB, {front}", value=small.wall if small.ran else None, limit=1, unit="s"
                ),
                Target(
                    what=f"16 GiB more than 200 MiB, {front}",
                    value=large.wall - small.wall if small.ran and large.ran else None,
                    limit=0.3,
                    unit="s",
                ),
            )
        ),
        notes=(
            f"`modelcar mount`, and a copy of the first tensor ({tensor.size // MIB} MiB) out of a mapping.",
            "Nothing runs and nothing is here before.",
            "The registry makes its weights up. It has a machine of its own, which is a network namespace.",
        ),
    )


def _first(front: Front, size: int, run: Run) -> Measurement:
    path, tensor = made_up_model(size * MIB).first_tensor
    with switch() as network:
        there, here = network.machine(MBIT), network.machine(MBIT)
        with (
            made_up_registry([size], whole=SIZES[:1], host=there.address, enter=there.enter) as registry,
            place(run, here.namespace) as at,
        ):
            ref = reference(registry.address, size)
            return at.program("mapped", "first", ref, at.folder, front, path, tensor.offset, tensor.size)
