"""What a benchmark found: rows of runs, and targets that are met or missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from tests.bench.measure import Measurement

__all__ = ["Outcome", "Row", "Target", "ratio_target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """All runs of one contender. A `failure` says why there are none, or not all."""

    name: str
    runs: tuple[Measurement, ...] = ()
    hashed: int | None = None
    hashed_partly: bool = False
    failure: str | None = None

    def median(self, value: Callable[[Measurement], float]) -> float:
        return median(value(run) for run in self.runs)

    @property
    def wall(self) -> float:
        return self.median(lambda run: run.wall)

    @property
    def spread(self) -> tuple[float, float]:
        """The fastest and the slowest run, in seconds."""
        walls = [run.wall for run in self.runs]
        return min(walls), max(walls)

    @property
    def ran(self) -> bool:
        return self.failure is None and bool(self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A figure and its bound: at most `limit`, or at least where `at_least` is set. No `value`: it was not measured."""

    what: str
    value: float | None
    limit: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one scenario found. `notes` are sentences for the reader of the table."""

    name: str
    title: str
    rows: tuple[Row, ...]
    targets: tuple[Target, ...]
    notes: tuple[str, ...] = ()


def ratio_target(what: str, ours: Row, theirs: Row, limit: float, *, factor: float = 1.0) -> Target:
    """Our median wall time over `factor` times theirs."""
    value = ours.wall / (factor * theirs.wall) if ours.ran and theirs.ran else None
    return Target(what=what, value=value, limit=limit, unit="x")
