"""Which bytes of which files a rank needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from modelcar.checkpoint.formats.header import Tensor
from modelcar.errors import UsageError
from modelcar.layers.index import IndexedFile
from modelcar.ranks.model import ModelShape
from modelcar.ranks.names import TensorName
from modelcar.ranks.rules import find_cut
from modelcar.ranks.slices import Cut, Span, TensorPart, Why, merge_ranges, part_of
from modelcar.ranks.topology import Place, Topology

__all__ = ["FilePlan", "RankPlan", "plan_rank"]

_WORTH_A_WORD: Final = (Why.UNKNOWN, Why.ODD, Why.UNEVEN, Why.UNSURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlan:
    """What is needed of a file.

    Attributes:
        needed: whether anything is, if only that it be there.
        parts: the tensors of which something is needed, in file order; empty for files without tensors.
        ranges: `[start, stop)` in bytes from the start of the file, sorted and apart; its header is in them.
    """

    file: IndexedFile
    needed: bool
    parts: tuple[TensorPart, ...]
    ranges: tuple[Span, ...]

    @property
    def fetched(self) -> int:
        """Bytes to fetch."""
        return sum(stop - start for start, stop in self.ranges)

    @property
    def has_all_tensors(self) -> bool:
        """Whether something is needed of every tensor, or the file has none and is needed."""
        return self.needed and len(self.parts) == len(self.file.tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankPlan:
    """What a rank, or several ranks together, need of a model.

    Attributes:
        ranks: whose plan it is.
        files: all files of the model, in its order.
        whole: bytes of tensors that could be smaller for a rank if more were known, by the reason why they are not.
    """

    topology: Topology
    ranks: tuple[int, ...]
    files: tuple[FilePlan, ...]
    whole: Mapping[Why, int] = field(default_factory=dict)

    @property
    def fetched(self) -> int:
        """Bytes to fetch."""
        return sum(file.fetched for file in self.files)

    @property
    def kept(self) -> int:
        """Bytes of tensors that stay in a rank's memory: of strided slices all is fetched and little is kept."""
        return sum(part.used for file in self.files for part in file.parts)

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(file.file.size for file in self.files)

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all files if of every tensor that is touched all is taken."""
        return sum(
            (part.tensor.size for file in self.files for part in file.parts),
            sum(file.fetched - sum(part.fetched for part in file.parts) for file in self.files),
        )

    def by_name(self) -> dict[str, TensorPart]:
        """What is needed of each tensor; those of which nothing is needed are not in it."""
        return {part.tensor.name: part for file in self.files for part in file.parts}


def plan_rank(files: Sequence[IndexedFile], config: Mapping[str, Any], topology: Topology, rank: int) -> RankPlan:
    """What `rank` needs of the model that `files` and `config` (its `config.json`; empty if there is none) describe.

    Raises:
        UsageError: there is no such rank, or the model cannot be divided into so many stages.
    """
    return _Planner(files, ModelShape.of(config), topology, topology.place(rank)).plan()


class _Planner:
    def __init__(self, files: Sequence[IndexedFile], shape: ModelShape, topology: Topology, place: Place) -> None:
        self._files, self._shape, self._topology, self._place = files, shape, topology, place
        self._names = {t.name: TensorName.parse(t.name) for file in files for t in file.tensors}
        found = self._names.values()
        layers = shape.layers or max((n.layer for n in found if n.layer is not None), default=-1) + 1
        if not layers and topology.pp > 1:
            raise UsageError("the model's layers cannot be told by the names of its tensors", hint="leave --pp out")
        stage = topology.layers(place.stage, layers) if layers else range(0)
        self._is_first, self._is_last = place.stage == 0, place.stage == topology.pp - 1
        # Layers after the last are for drafting tokens, which happens where the output is.
        self._layers = range(stage.start, 1 << 32) if self._is_last else stage
        drafts = any(n.startswith("mtp.") for n in self._names) or any((n.layer or 0) >= layers for n in found)
        self._tied = shape.tied or drafts or not any(n.role == "head" for n in found)
        self._expert_count = self._count_experts(found)
        self._whole: Counter[Why] = Counter()

    def plan(self) -> RankPlan:
        files = tuple(map(self._file, self._files))
        return RankPlan(topology=self._topology, ranks=(self._place.rank,), files=files, whole=dict(self._whole))

    def _file(self, file: IndexedFile) -> FilePlan:
        if not file.tensors:
            return FilePlan(file=file, needed=True, parts=(), ranges=merge_ranges([(0, file.size)]))
        parts = tuple(self._part(tensor) for tensor in file.tensors if self._is_needed(self._names[tensor.name]))
        if not parts:
            return FilePlan(file=file, needed=False, parts=(), ranges=())
        header = (0, file.header_size or 0)
        ranges = merge_ranges([header, *(r for part in parts for r in part.ranges)])
        return FilePlan(file=file, needed=True, parts=parts, ranges=ranges)

    def _is_needed(self, name: TensorName) -> bool:
        if name.role == "embedding":
            return self._is_first or (self._is_last and self._tied)
        if name.role is not None:
            return self._is_last
        if name.layer is None:
            return True
        if name.expert is not None and self._expert_count and name.expert not in self._experts():
            return False
        return name.layer in self._layers

    def _part(self, tensor: Tensor) -> TensorPart:
        name = self._names[tensor.name]
        if name.stacked and self._topology.ep > 1 and tensor.shape and tensor.shape[0] == self._expert_count:
            experts = self._experts()
            return part_of(tensor, Cut(0, merge_ranges([(experts.start, experts.stop)])))
        found = find_cut(name, tensor, self._shape, *self._slice(name))
        if isinstance(found, Why) and found in _WORTH_A_WORD:
            self._whole[found] += tensor.size
        return part_of(tensor, found)

    def _slice(self, name: TensorName) -> tuple[int, int]:
        """Over how many ranks a tensor is sliced, and which of them this is."""
        place = self._place
        if name.expert is not None or name.stacked:
            return place.expert_slices, place.expert_slice
        if name.shared and self._topology.ep > 1:
            return 1, 0  # engines with expert parallelism differ: some keep it whole
        return self._topology.tp, place.tp_rank

    def _experts(self) -> range:
        return self._topology.experts(self._place.ep_rank, self._expert_count)

    def _count_experts(self, names: Collection[TensorName]) -> int:
        """How many there are in every layer that has any; 0 where layers differ, and nobody knows who has which."""
        numbered: dict[int, int] = {}
        for name in names:
            if name.layer is not None and name.expert is not None:
                numbered[name.layer] = max(numbered.get(name.layer, 0), name.expert + 1)
        stacked = (t.shape[:1] for file in self._files for t in file.tensors if self._names[t.name].stacked)
        counts = set(numbered.values()) or {shape[0] for shape in stacked if shape}
        return counts.pop() if len(counts) == 1 else 0
