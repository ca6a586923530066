"""A folder with what some ranks need of a model.

Weight files hold whole tensors, and only those of which these ranks have something; one that holds none is left out,
and the index of the shards names what is there. So a loader that asks for anything else fails; it never reads zeros.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from modelcar.checkpoint.formats.shards import is_index
from modelcar.checkpoint.source import RANK_FILE
from modelcar.errors import InvalidContent, UsageError
from modelcar.images.layer_pull import LayerPull, WantedFile, check_owners, header_of
from modelcar.images.reader import ModelLayer, ModelReader, parse_config
from modelcar.layers.index import IndexedFile
from modelcar.lazy.download import Downloads
from modelcar.oci import Descriptor, Digest, compact_json
from modelcar.packaging.distinct import require_distinct
from modelcar.packaging.staging import Staging, open_staging
from modelcar.packaging.subset import subset
from modelcar.progress import SILENT, Progress
from modelcar.ranks import FilePlan, RankPlan
from modelcar.registry.cancel import run_parallel

__all__ = ["RANK_FILE", "ChooseDownloads", "RankPull", "pull_ranks"]

ChooseDownloads = Callable[[Descriptor], Downloads]
"""What brings a layer: from its registry, or from this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankPull:
    """What was put into the folder, `size` in bytes, and how many tensors and bytes of the model are not in it."""

    files: int
    size: int
    tensors_left_out: int
    bytes_left_out: int


def pull_ranks(
    reader: ModelReader,
    downloads: ChooseDownloads,
    plan: RankPlan,
    target: Path,
    *,
    name: str,
    workers: int = 4,
    progress: Progress = SILENT,
) -> RankPull:
    """Fill `target`, which must not exist or be empty, with what `plan` needs of the model. `name` is the image's.

    A repeated call goes on with the chunks that are missing. Where all of a layer is needed its full digest is checked;
    else every chunk.

    Args:
        downloads: what brings a layer.

    Raises:
        UsageError: `target` has something in it, its file system takes two of the files for one, or the model has one
            of our name.
        InvalidContent: what came is not what was promised; nothing is visible then.
        WorldError: the registry refuses or cannot be reached, or the disk fails.
    """
    if RANK_FILE in reader.files:
        raise UsageError(f"the model has a file {RANK_FILE}: it is part of another one", hint="pull it without --rank")
    check_owners(reader.layers)
    record = _record(reader, plan, name)
    with open_staging(target, Digest.of(compact_json(record))) as staging:
        require_distinct([RANK_FILE, *(file["path"] for file in record["files"])], staging.folder)
        _Pulling(reader, downloads, staging, plan).run(workers, progress)
        (staging.files / RANK_FILE).write_text(json.dumps(record, indent=1) + "\n")
        files = [path for path in staging.files.rglob("*") if path.is_file()]
        return RankPull(
            files=len(files),
            size=sum(path.stat().st_size for path in files),
            tensors_left_out=record["leftOut"]["tensors"],
            bytes_left_out=record["leftOut"]["bytes"],
        )


def _record(reader: ModelReader, plan: RankPlan, name: str) -> dict[str, Any]:
    plans = {file.file.path: file for file in plan.files}
    left = [size for file in reader.files.values() for size in _left_out(file, plans.get(file.path))]
    topology = plan.topology
    return {
        "schemaVersion": 1,
        "image": name,
        "manifest": str(reader.manifest.digest),
        "tp": topology.tp,
        "pp": topology.pp,
        "ep": topology.ep,
        "stages": list(topology.stages),
        "ranks": list(plan.ranks),
        "leftOut": {"tensors": len(left), "bytes": sum(left)},
        "files": [
            {"path": file.file.path, "tensors": len(file.parts), "complete": _takes_all(file)}
            for file in plan.files
            if file.needed
        ],
    }


def _takes_all(plan: FilePlan) -> bool:
    """Whether the file comes as it is: what is not safetensors is not written anew."""
    return plan.has_all_tensors or plan.file.format != "safetensors"


def _left_out(file: IndexedFile, plan: FilePlan | None) -> list[int]:
    if plan is not None and plan.needed and _takes_all(plan):
        return []
    kept = {part.tensor.name for part in plan.parts} if plan is not None else set()
    return [tensor.size for tensor in file.tensors if tensor.name not in kept]


class _Pulling:
    def __init__(self, reader: ModelReader, downloads: ChooseDownloads, staging: Staging, plan: RankPlan) -> None:
        self._reader, self._downloads, self._staging = reader, downloads, staging
        self._plans = {file.file.path: file for file in plan.files}

    def run(self, workers: int, progress: Progress) -> None:
        jobs: list[Callable[[], None]] = []
        for layer in self._reader.layers:
            plans = (self._plans.get(file.path) for file in layer.files)
            wanted = [self._wanted(plan) for plan in plans if plan is not None and plan.needed]
            if wanted:
                pull = LayerPull(self._reader, layer, wanted, self._staging)
                progress.expect(pull.size)
                jobs.append(partial(self._layer, layer, pull, progress))
        run_parallel(jobs, workers)
        for path, plan in self._plans.items():
            if plan.needed and is_index(path):
                self._narrow_index(path)

    def _layer(self, layer: ModelLayer, pull: LayerPull, progress: Progress) -> None:
        digest = layer.descriptor.digest
        progress.start(str(digest), digest.short, pull.size)
        if self._staging.paths_of(digest) is not None:
            progress.finish(str(digest), "exists")
            return
        pull.run(self._downloads(layer.descriptor), partial(progress.advance, str(digest)))
        progress.finish(str(digest))

    def _wanted(self, plan: FilePlan) -> WantedFile:
        """What is written for a file: all of it, or a file of the tensors that are needed."""
        if _takes_all(plan):
            return WantedFile.whole(plan.file)
        names = {part.tensor.name for part in plan.parts}
        return WantedFile(plan.file, subset(header_of(self._reader, plan.file), names))

    def _narrow_index(self, path: str) -> None:
        """Take out of the index of the shards what has been left out of them."""
        place = self._staging.files / path
        index = parse_config(place.read_bytes(), path)
        shards, folder = index.get("weight_map"), path.rpartition("/")[0]
        if not isinstance(shards, dict):
            raise InvalidContent(f"{path} has no 'weight_map'")
        sizes = {
            (path, part.tensor.name): part.tensor.size for path, plan in self._plans.items() for part in plan.parts
        }
        places = {name: (f"{folder}/{shard}" if folder else shard, name) for name, shard in shards.items()}
        kept = {name: shard for name, shard in shards.items() if places[name] in sizes}
        if len(kept) < len(shards):
            metadata = {"total_size": sum(sizes[places[name]] for name in kept)}
            place.write_text(json.dumps({**index, "metadata": metadata, "weight_map": kept}, indent=2) + "\n")
