"""A folder with what some ranks need of a model.

Weight files hold whole tensors, and only those of which these ranks have something; one that holds none is left out,
and the index of the shards names what is there. So a loader that asks for anything else fails; it never reads zeros.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from modelcar.checkpoint.formats.shards import is_index
from modelcar.checkpoint.source import RANK_FILE
from modelcar.errors import InvalidContent, UsageError
from modelcar.images.reader import ModelLayer, ModelReader, parse_config
from modelcar.layers.index import IndexedFile
from modelcar.oci import Digest, compact_json
from modelcar.packaging.headers import check_header
from modelcar.packaging.staging import Staging, open_staging
from modelcar.packaging.subset import Move, Subset, subset
from modelcar.packaging.unpack import unpack_layer
from modelcar.progress import SILENT, Progress
from modelcar.ranks import FilePlan, RankPlan
from modelcar.registry.cancel import run_parallel

__all__ = ["RANK_FILE", "RankPull", "pull_ranks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankPull:
    """What was put into the folder, `size` in bytes, and how many tensors and bytes of the model are not in it."""

    files: int
    size: int
    tensors_left_out: int
    bytes_left_out: int


def pull_ranks(
    reader: ModelReader,
    plan: RankPlan,
    target: Path,
    *,
    name: str,
    workers: int = 4,
    progress: Progress = SILENT,
) -> RankPull:
    """Fill `target`, which must not exist or be empty, with what `plan` needs of the model. `name` is the image's.

    A repeated call goes on with the layers that are missing. Where all of a layer is needed its full digest is checked;
    else every chunk.

    Raises:
        UsageError: `target` has something in it, or the model has a file of our name.
        InvalidContent: what came is not what was promised; nothing is visible then.
        WorldError: the registry refuses or cannot be reached, or the disk fails.
    """
    if RANK_FILE in reader.files:
        raise UsageError(f"the model has a file {RANK_FILE}: it is part of another one", hint="pull it without --rank")
    record = _record(reader, plan, name)
    with open_staging(target, Digest.of(compact_json(record))) as staging:
        pulling = _Pulling(reader, staging, plan, workers, progress)
        pulling.run()
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
    def __init__(self, reader: ModelReader, staging: Staging, plan: RankPlan, workers: int, progress: Progress) -> None:
        self._reader, self._staging, self._workers, self._progress = reader, staging, workers, progress
        self._plans = {file.file.path: file for file in plan.files}

    def run(self) -> None:
        jobs: list[Callable[[], None]] = []
        for layer in self._reader.layers:
            plans = (self._plans.get(file.path) for file in layer.files)
            needed = [plan for plan in plans if plan is not None and plan.needed]
            if needed:
                self._progress.expect(layer.descriptor.size if _is_whole(layer, needed) else _bytes_of(needed))
                jobs.append(partial(self._layer, layer, needed))
        self._workers_inside = max(1, self._workers // max(1, len(jobs)))
        run_parallel(jobs, self._workers)
        for path, plan in self._plans.items():
            if plan.needed and not (self._staging.files / path).is_file():
                raise InvalidContent(f"another layer of the image deletes {path}")
            if plan.needed and is_index(path):
                self._narrow_index(path)

    def _layer(self, layer: ModelLayer, needed: Sequence[FilePlan]) -> None:
        digest = layer.descriptor.digest
        if self._staging.paths_of(digest) is not None:
            self._progress.start(str(digest), digest.short, 0)
            self._progress.finish(str(digest), "exists")
            return
        if _is_whole(layer, needed):
            self._whole(layer)
        else:
            self._some(layer, needed)
        self._staging.finish(digest, [plan.file.path for plan in needed])

    def _whole(self, layer: ModelLayer) -> None:
        files = self._staging.files
        paths = unpack_layer(layer.descriptor, self._reader.source.open_layer, files, self._progress)
        if sorted(paths) != sorted(file.path for file in layer.files):
            raise InvalidContent(f"the model index lists other files than are in layer {layer.descriptor.digest}")
        for file in layer.files:
            if file.tensors:
                with (files / file.path).open("rb") as stream:
                    check_header(file, stream.read(file.header_size or 0))

    def _some(self, layer: ModelLayer, needed: Sequence[FilePlan]) -> None:
        key = str(layer.descriptor.digest)
        self._progress.start(key, layer.descriptor.digest.short, _bytes_of(needed))
        self._reader.check_places(layer)
        outputs: dict[str, _Output] = {}
        with _closing(outputs):
            for plan in needed:
                outputs[plan.file.path] = _Output(self._staging.files / plan.file.path, self._content(plan))

            def deliver(path: str, offset: int, data: memoryview) -> None:
                outputs[path].write(offset, data)
                self._progress.advance(key, len(data))

            wanted = {path: [(move.start, move.stop) for move in output.moves] for path, output in outputs.items()}
            self._reader.fetch(wanted, deliver, workers=self._workers_inside)
        self._progress.finish(key)

    def _content(self, plan: FilePlan) -> Subset:
        """What is written for a file: all of it, or a file of the tensors that are needed."""
        file = plan.file
        if file.tensors:
            header = self._reader.header(file.path)
            if not _takes_all(plan):
                return subset(header, {part.tensor.name for part in plan.parts})
        return Subset(head=b"", moves=(Move(0, file.size, 0),) if file.size else (), size=file.size)

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


def _is_whole(layer: ModelLayer, needed: Sequence[FilePlan]) -> bool:
    return len(needed) == len(layer.files) and all(map(_takes_all, needed))


def _bytes_of(needed: Sequence[FilePlan]) -> int:
    """What is written of files of which not all is."""
    return sum(plan.file.size if _takes_all(plan) else sum(part.tensor.size for part in plan.parts) for plan in needed)


class _Output:
    """A file that is being written, in any order, from several threads."""

    def __init__(self, place: Path, content: Subset) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        self.moves = content.moves
        self._fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        os.ftruncate(self._fd, content.size)
        _write(self._fd, memoryview(content.head), 0)

    def write(self, offset: int, data: memoryview) -> None:
        """Bytes of the original from `offset` on; all of them lie within one move."""
        move = next(move for move in self.moves if move.start <= offset < move.stop)
        _write(self._fd, data, move.target + offset - move.start)

    def close(self) -> None:
        os.close(self._fd)


def _write(fd: int, data: memoryview, offset: int) -> None:
    while data:
        n = os.pwrite(fd, data, offset)
        data, offset = data[n:], offset + n


@contextmanager
def _closing(outputs: dict[str, _Output]) -> Iterator[None]:
    try:
        yield
    finally:
        for output in outputs.values():
            output.close()
