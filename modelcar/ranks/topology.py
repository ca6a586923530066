"""How ranks are numbered, and which layers and experts each of them has: as vLLM and SGLang do it."""

from __future__ import annotations

from dataclasses import dataclass

from modelcar.errors import UsageError

__all__ = ["Place", "Topology"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a rank stands. All numbers count from 0.

    Attributes:
        tp_rank: which slice of attention and dense layers it has, of `Topology.tp`.
        stage: which pipeline stage, of `Topology.pp`.
        ep_rank: which block of experts, of `Topology.ep`.
        expert_slices: over how many ranks each of its experts is sliced.
        expert_slice: which of those slices it has.
    """

    rank: int
    tp_rank: int
    stage: int
    ep_rank: int
    expert_slices: int
    expert_slice: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Tensor-, pipeline- and expert-parallel sizes.

    `ep` divides `tp` (experts are spread over groups of a stage's ranks) or is a multiple of it (data-parallel copies
    of attention share the experts). Ranks are numbered with the slice changing fastest, then the stage, then the copy.

    Attributes:
        stages: how many layers each stage has; by default vLLM's choice, see `layers`.

    Raises:
        UsageError: the numbers do not fit together.
    """

    tp: int = 1
    pp: int = 1
    ep: int = 1
    stages: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if min(self.tp, self.pp, self.ep) < 1:
            raise UsageError("a model is divided over one rank at least", hint="--tp, --pp and --ep are 1 or more")
        if self.tp % self.ep and self.ep % self.tp:
            raise UsageError(
                f"{self.ep} expert-parallel groups do not fit {self.tp} tensor-parallel ranks",
                hint="the one is a multiple of the other",
            )
        if self.stages and (len(self.stages) != self.pp or min(self.stages) < 1):
            raise UsageError(
                f"{len(self.stages)} numbers of layers are given for {self.pp} pipeline stages",
                hint="one number for each stage, each 1 or more",
            )

    @property
    def copies(self) -> int:
        """How many data-parallel copies of attention share the experts."""
        return max(1, self.ep // self.tp)

    @property
    def size(self) -> int:
        """How many ranks there are."""
        return self.tp * self.pp * self.copies

    def place(self, rank: int) -> Place:
        """Raises `UsageError` for a rank that there is not."""
        if not 0 <= rank < self.size:
            raise UsageError(f"there is no rank {rank}", hint=f"ranks are numbered from 0 to {self.size - 1}")
        tp_rank, copy = rank % self.tp, rank // (self.tp * self.pp)
        expert_slices = max(1, self.tp // self.ep)
        return Place(
            rank=rank,
            tp_rank=tp_rank,
            stage=rank // self.tp % self.pp,
            ep_rank=copy * self.tp + tp_rank if self.ep > self.tp else tp_rank // expert_slices,
            expert_slices=expert_slices,
            expert_slice=tp_rank % expert_slices,
        )

    def layers(self, stage: int, count: int) -> range:
        """Which of `count` layers a stage has.

        What cannot be divided evenly goes one by one to the stages from the last but one backwards: the last stage has
        the output head, too.

        Raises:
            UsageError: the given stages have another number of layers, or there are more stages than layers.
        """
        if self.stages and sum(self.stages) != count:
            raise UsageError(f"the stages have {sum(self.stages)} layers and the model has {count}")
        if count < self.pp:
            raise UsageError(f"{count} layers cannot be divided over {self.pp} pipeline stages")
        sizes = list(self.stages) or [count // self.pp] * self.pp
        for i in range(0 if self.stages else count % self.pp):
            sizes[-2 - i] += 1
        start = sum(sizes[:stage])
        return range(start, start + sizes[stage])

    def experts(self, ep_rank: int, count: int) -> range:
        """Which of `count` experts a group has: a contiguous block, the first groups one more where it is uneven."""
        base, more = divmod(count, self.ep)
        start = ep_rank * base + min(ep_rank, more)
        return range(start, start + base + (ep_rank < more))
