"""Options that say how a model is divided over ranks, and which of them is meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, TypeVar, cast

import click

from modelcar.errors import UsageError
from modelcar.images.described import DescribedModel
from modelcar.ranks import RankPlan, Topology, merge_plans, plan_rank

__all__ = ["RankChoice", "rank_options"]

F = TypeVar("F", bound=Callable[..., Any])
_RANKS: Final = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
_MOST_RANKS: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class RankChoice:
    """How the model is divided, and whose part is meant: `ranks`, or nobody's in particular."""

    topology: Topology
    ranks: tuple[int, ...]

    def plans(self, model: DescribedModel, ranks: Sequence[int]) -> list[RankPlan]:
        """Raises `UsageError` for a rank that there is not, or a model that cannot be divided so."""
        return [plan_rank(model.files, model.config, self.topology, rank) for rank in ranks]

    def plan(self, model: DescribedModel) -> RankPlan:
        """What the chosen ranks need together. Raises as `plans`."""
        return merge_plans(self.plans(model, self.ranks))

    @property
    def words(self) -> str:
        """For people: `rank 3 of tp 4, pp 2`."""
        sizes = {"tp": self.topology.tp, "pp": self.topology.pp, "ep": self.topology.ep}
        parts = ", ".join(f"{name} {size}" for name, size in sizes.items() if size > 1) or "tp 1"
        names = ", ".join(map(str, self.ranks))
        return f"rank{'s' * (len(self.ranks) > 1)} {names} of {parts}"


def rank_options(command: F) -> F:
    """`--tp`, `--pp`, `--ep`, `--stages` and `--rank`, handed on as `choice`; `None` where none of them is given."""

    @click.option("--tp", type=click.IntRange(1, 4096), metavar="N", help="Tensor-parallel size.")
    @click.option("--pp", type=click.IntRange(1, 4096), metavar="N", help="Pipeline-parallel size.")
    @click.option("--ep", type=click.IntRange(1, 4096), metavar="N", help="Expert-parallel size.")
    @click.option("--stages", metavar="N,N,…", help="Layers of each pipeline stage, as the server is told.")
    @click.option("--rank", "ranks", metavar="R", help="Which rank, from 0; several as 0-7 or 0,2,4.")
    @wraps(command)
    def wrapper(
        *args: Any,
        tp: int | None,
        pp: int | None,
        ep: int | None,
        stages: str | None,
        ranks: str | None,
        **kwargs: Any,
    ) -> Any:
        choice = None
        if any(option is not None for option in (tp, pp, ep, stages, ranks)):
            topology = Topology(tp=tp or 1, pp=pp or 1, ep=ep or 1, stages=_numbers(stages) if stages else ())
            choice = RankChoice(topology=topology, ranks=_ranks(ranks, topology) if ranks is not None else ())
        return command(*args, choice=choice, **kwargs)

    return cast("F", wrapper)


def _numbers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[0-9]{1,6}(,[0-9]{1,6})*", text):
        raise UsageError(f"{text!r} is no list of numbers of layers", hint="such as --stages 16,16,17,15")
    return tuple(map(int, text.split(",")))


def _ranks(text: str, topology: Topology) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        match = _RANKS.fullmatch(part)
        first = int(match[1]) if match else 0
        last = int(match[2] or match[1]) if match else -1
        if last < first or last - first > _MOST_RANKS:
            raise UsageError(f"{text!r} names no ranks", hint="such as --rank 3, --rank 0-7 or --rank 0,2,4")
        topology.place(last)
        found.update(range(first, last + 1))
    return tuple(sorted(found))
