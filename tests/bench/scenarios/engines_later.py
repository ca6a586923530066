"""One node has the image and nine come later: what Spegel is made for."""

from __future__ import annotations

from typing import Final

from tests.bench.race import Bench
from tests.bench.results import Outcome
from tests.bench.scenarios.engines import NODES, Case, compare
from tests.bench.scenarios.peers import MBIT

__all__ = ["NAME", "run"]

NAME: Final = "engines-later"


def run(bench: Bench) -> Outcome:
    title = f"One node has the image, {NODES - 1} come later, links of {MBIT} Mbit/s"
    return compare(bench, NAME, title, Case(before=slice(1), pulling=slice(1, None)))
