"""What one rank of an engine has of each tensor, as loading asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelcar.layers.index import IndexedFile
from modelcar.loading.files import WeightFile
from modelcar.loading.parts import WHOLE, Part, PartOf
from modelcar.ranks.plan import plan_rank
from modelcar.ranks.topology import Topology

__all__ = ["part_of_rank"]


def part_of_rank(files: Sequence[WeightFile], config: Mapping[str, Any], topology: Topology, rank: int) -> PartOf:
    """As `plan_rank` divides the model in `files`; `config` is its `config.json`.

    Raises:
        UsageError: there is no such rank, or the model cannot be divided like that.
    """
    indexed = [
        IndexedFile(
            path=file.path,
            offset=0,
            size=max((t.offset + t.size for t in file.header.tensors), default=file.header.size),
            role="weight",
            format="safetensors",
            header_size=file.header.size,
            tensors=file.header.tensors,
        )
        for file in files
    ]
    parts = plan_rank(indexed, config, topology, rank).by_name()

    def part_of(name: str, _shape: tuple[int, ...], _dtype: str) -> Part | None:
        part = parts.get(name)
        if part is None or part.dimension is None:
            return WHOLE if part is not None else None
        return Part(dim=part.dimension, ranges=part.spans)

    return part_of
