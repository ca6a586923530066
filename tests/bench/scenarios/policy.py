"""Deciding about an image by a hundred policies, signatures included."""

from __future__ import annotations

from typing import Final

from tests.bench.race import Bench, Contender, race
from tests.bench.results import Outcome, Target

__all__ = ["NAME", "run"]

NAME: Final = "policy"
POLICIES: Final = 100
SIGNERS: Final = 5


def run(bench: Bench) -> Outcome:
    (row,) = race(
        bench,
        [Contender(name="evaluate", run=lambda run: run.program("policies", str(POLICIES), str(SIGNERS)))],
    )
    return Outcome(
        name=NAME,
        title=f"Evaluate {POLICIES} policies",
        rows=(row,),
        targets=(
            Target(
                what=f"one decision by {POLICIES} policies of {SIGNERS} signers",
                value=row.wall * 1000 if row.ran else None,
                limit=10,
                unit="ms",
            ),
        ),
        notes=("Every signature is verified in every evaluation; policies are read and compiled beforehand.",),
    )
