"""Ranks for which a model is mounted: what they need of it comes before the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from modelcar.cache.lease import Purpose
from modelcar.cache.origin import Origin
from modelcar.cache.reading import reader
from modelcar.errors import InvalidDocument, Unreachable, UsageError
from modelcar.images.described import one_copy
from modelcar.images.reader import parse_config
from modelcar.layers.index import IndexedFile
from modelcar.lazy.grid import Grid
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.served import LastingLeases
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.inspect import parse_index_layer
from modelcar.ranks import Topology, merge_plans, plan_rank
from modelcar.ranks.slices import merge_ranges

__all__ = ["CONFIGS", "RankedReading", "Ranks"]

CONFIGS: Final = ("config.json", "params.json")
"""Where a model says how it is made, the first one that it has."""
_MOST_CONFIG: Final = 16 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """Some ranks of a model that is divided so."""

    topology: Topology
    ranks: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        topology = self.topology
        return {
            "tp": topology.tp,
            "pp": topology.pp,
            "ep": topology.ep,
            "stages": list(topology.stages),
            "ranks": list(self.ranks),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises `InvalidDocument`."""
        sizes = [document.get(name) for name in ("tp", "pp", "ep")]
        stages, ranks = document.get("stages"), document.get("ranks")
        lists = isinstance(stages, list) and isinstance(ranks, list)
        if not lists or not all(type(n) is int for n in (*sizes, *(stages or ()), *(ranks or ()))):
            raise InvalidDocument("ranks are not numbers")
        tp, pp, ep = (int(size or 0) for size in sizes)
        try:
            topology = Topology(tp=tp, pp=pp, ep=ep, stages=tuple(stages or ()))
        except UsageError as e:
            raise InvalidDocument(f"ranks: {e}") from None
        return cls(topology=topology, ranks=tuple(ranks or ()))


class RankedReading:
    """Finds out where in the blobs of a plan the bytes lie that ranks need."""

    def __init__(
        self, leases: LastingLeases, origin: Origin, plan: MountPlan, grids: Mapping[Digest, Grid], patience: float
    ) -> None:
        self._leases, self._origin, self._plan, self._grids, self._patience = leases, origin, plan, grids, patience

    def ranges(self, ranks: Ranks) -> dict[int, tuple[tuple[int, int], ...]]:
        """By blob: `[start, stop)`, sorted and apart. What it reads is fetched first, and stays in the cache.

        Raises:
            UsageError: there is no such rank, the model cannot be divided so, or it has no index.
            InvalidContent: its index or configuration is none.
            WorldError: they cannot be had.
        """
        files, config = one_copy(self._files())[0], self._config()
        needed = merge_plans([plan_rank(files, config, ranks.topology, rank) for rank in ranks.ranks])
        places = {file.path: file for file in self._plan.files}
        found: dict[int, list[tuple[int, int]]] = {}
        for file in needed.files:
            place = places[file.file.path]
            ranges = ((place.offset + start, place.offset + min(stop, place.size)) for start, stop in file.ranges)
            found.setdefault(place.blob, []).extend(ranges)
        return {blob: merge_ranges(ranges) for blob, ranges in found.items()}

    def _files(self) -> list[IndexedFile]:
        if self._plan.index is None:
            raise UsageError(
                "the image has no model index, so nothing of it can come first", hint="mount it without --rank"
            )
        shown = {file.path for file in self._plan.files}
        layers = parse_index_layer(self._read(self._plan.index, 0, self._plan.index.size)).layers
        files = {file.path: file for layer in layers for file in layer.files if file.path in shown}
        return list(files.values())

    def _config(self) -> dict[str, Any]:
        files = {file.path: file for file in self._plan.files}
        file = next((files[name] for name in CONFIGS if name in files), None)
        if file is None:
            return {}
        if file.size > _MOST_CONFIG:
            raise InvalidDocument(f"{file.path} has {file.size} bytes, more than are read")
        return parse_config(self._read(self._plan.blobs[file.blob], file.offset, file.size), file.path)

    def _read(self, blob: Descriptor, offset: int, size: int) -> bytes:
        grid = self._grids.get(blob.digest)
        with self._leases.lease(self._origin, blob, grid=grid, purpose=Purpose.MOUNT) as lease:
            lease.need(offset, size)
            try:
                lease.when(offset, size).result(self._patience)
            except TimeoutError:
                raise Unreachable(f"{blob.digest} did not come within {self._patience:.0f} s") from None
            return reader(lease)(offset, size)
