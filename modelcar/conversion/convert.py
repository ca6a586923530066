"""A checkpoint with pickled weights, or with large files, becomes a folder with safetensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Final

from modelcar.checkpoint import Checkpoint, CheckpointFile, open_checkpoint, read_header
from modelcar.checkpoint.formats.reader import malformed, printable
from modelcar.conversion.groups import Group, group_weights, is_torch_index
from modelcar.conversion.sharding import Shard, index_document, shard_tensors
from modelcar.conversion.statedict import read_state_dict
from modelcar.conversion.tensors import LeftOut, StoredTensor, TensorFile
from modelcar.conversion.write import ShardWriter
from modelcar.disk import check_room
from modelcar.errors import SourceError
from modelcar.oci import Digest, compact_json
from modelcar.packaging.staging import Staging, open_staging
from modelcar.progress import SILENT, Progress
from modelcar.registry.cancel import run_parallel
from modelcar.units import parse_size

__all__ = ["Conversion", "Converted", "convert"]

_USUAL_LIMIT: Final = 5 * 10**9  # bytes; what transformers and diffusers take by default
_REPAIR: Final = "download index and shards again from one revision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A file that was written: its path, bytes and tensors, and the paths that they came from."""

    path: str
    size: int
    tensors: int
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What is in the folder.

    Attributes:
        files: the weights that were written.
        copied: paths of the files that were taken along as they are.
        dropped: names that are not in the files, by the name of the very same tensor that is.
        left_out: what of the source is not there.
    """

    files: tuple[Converted, ...]
    copied: tuple[str, ...]
    dropped: dict[str, str]
    left_out: tuple[LeftOut, ...]

    @property
    def size(self) -> int:
        """Bytes of the weights that were written."""
        return sum(file.size for file in self.files)

    @property
    def tensors(self) -> int:
        return sum(file.tensors for file in self.files)


def convert(
    source: str | PathLike[str] | Checkpoint,
    folder: str | PathLike[str],
    *,
    max_shard_size: int | str | None = None,
    key: str | None = None,
    workers: int = 4,
    progress: Progress = SILENT,
) -> Conversion:
    """Write the checkpoint `source` into `folder` with its weights as safetensors. No pickle is executed.

    Configuration, tokenizer and all else are taken along; pickles are not. The folder is there when all of it is; a
    repeated call after a failure goes on with the files that are missing.

    Args:
        source: what `open_checkpoint` takes, or a checkpoint that it returned.
        folder: it must not exist or be empty.
        max_shard_size: bytes, or `"5GB"`, `"500MB"`, `"5GiB"`: the most that a file may hold, unless a tensor alone is
            larger. By default models are divided as transformers does it, by 5 GB, and safetensors stay as they are.
        key: under which a checkpoint of a training run has its weights, where it is not one of the usual ones.

    Raises:
        Denied: a pickle holds something else than tensors and plain values; it is named, with its place.
        SourceError: a file is malformed, or safetensors cannot hold what is in it, or there is nothing to convert.
        UsageError: `folder` has something in it.
        WorldError: a file changed meanwhile, or the disk is full or fails.
    """
    limit = None if max_shard_size is None else parse_size(max_shard_size, least=1)
    checkpoint = source if isinstance(source, Checkpoint) else open_checkpoint(source, lazy=True)
    plan = _plan(checkpoint.local(progress), limit, key)
    target = Path(folder)
    _check_room(target, plan)
    with open_staging(target, plan.identity, work="convert") as staging:
        _write(plan, staging, workers, progress)
    return Conversion(
        files=tuple(converted for output in plan.outputs for converted in output.converted),
        copied=tuple(file.path for file in plan.copies),
        dropped={a: t.name for output in plan.outputs for s in output.shards for t in s.tensors for a in t.aliases},
        left_out=plan.left_out,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """What becomes of one group."""

    group: Group
    shards: tuple[Shard, ...]

    @property
    def converted(self) -> list[Converted]:
        return [
            Converted(
                path=shard.path,
                size=shard.size,
                tensors=len(shard.tensors),
                sources=tuple(dict.fromkeys(tensor.file.path for tensor in shard.tensors)),
            )
            for shard in self.shards
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    outputs: tuple[_Output, ...]
    copies: tuple[CheckpointFile, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def identity(self) -> Digest:
        """Of what the folder will be: files and their states, and what is made of them."""
        files = {t.file.path: t.file for output in self.outputs for s in output.shards for t in s.tensors}
        stamps = {
            file.path: [file.size, file.stamp.mtime_ns, file.stamp.ctime_ns, file.stamp.inode]
            for file in (*files.values(), *self.copies)
        }
        heads = {s.path: str(Digest.of(s.head)) for output in self.outputs for s in output.shards}
        return Digest.of(compact_json({"files": stamps, "heads": heads}))


def _plan(checkpoint: Checkpoint, limit: int | None, key: str | None) -> _Plan:
    groups = group_weights(checkpoint)
    beside = {(g.folder, g.stem): g.files[0].path for g in groups if not g.pickled}
    left_out: list[LeftOut] = []
    outputs: list[_Output] = []
    gone = {file.path for file in checkpoint.files if is_torch_index(file.path)}
    for group in groups:
        twin = beside.get((group.folder, group.stem)) if group.pickled else None
        if twin is not None:
            left_out += [LeftOut(path=file.path, why=f"{twin} is there") for file in group.files]
        elif group.pickled or limit is not None:
            output, others = _output(group, limit, key)
            left_out += others
            if output is None:
                continue
            outputs.append(output)
        else:
            continue
        gone |= {file.path for file in group.files} | ({group.index.path} if group.index else set())
    for file in checkpoint.files:
        if file.format == "pickle" and file.path not in gone:
            left_out.append(LeftOut(path=file.path, why="a pickle that holds no weights"))
            gone.add(file.path)
    copies = tuple(file for file in checkpoint.files if file.path not in gone)
    if len(copies) == len(checkpoint.files):
        again = limit is not None
        raise SourceError(
            f"there is nothing to do: no weights are pickled{', and they are divided like this already' * again}",
            hint=None if again else "add --max-shard-size to divide safetensors anew",
        )
    _check_outputs(outputs, copies)
    return _Plan(outputs=tuple(outputs), copies=copies, left_out=tuple(left_out))


def _output(group: Group, limit: int | None, key: str | None) -> tuple[_Output | None, list[LeftOut]]:
    """What becomes of a group; `None` if it stays as it is."""
    read = [read_state_dict(file, key) if group.pickled else _read_safetensors(file) for file in group.files]
    tensors = _united(group, read)
    metadata = {name: text for file in reversed(read) for name, text in file.metadata.items()}
    if not group.may_be_sharded:
        limit = None
    elif limit is None and group.is_whole_model:
        limit = _USUAL_LIMIT
    shards = shard_tensors(group, tensors, metadata, limit)
    if not group.pickled and [shard.path for shard in shards] == [file.path for file in group.files]:
        places = [{t.name for t in file.tensors} for file in read]
        if places == [{t.name for t in shard.tensors} for shard in shards]:
            return None, []
    left_out = [each for file in read for each in file.left_out]
    return _Output(group=group, shards=tuple(shards)), left_out


def _read_safetensors(file: CheckpointFile) -> TensorFile:
    header = read_header(file)
    if header is None:
        return TensorFile(tensors=())
    tensors = tuple(
        StoredTensor(name=t.name, dtype=t.dtype, shape=t.shape, size=t.size, file=file, offset=t.offset)
        for t in header.tensors
    )
    return TensorFile(tensors=tensors, metadata=header.metadata)


def _united(group: Group, read: Sequence[TensorFile]) -> list[StoredTensor]:
    """The tensors of all files of a group, each name once, where the index has them."""
    places: dict[str, str] = {}
    tensors = [tensor for file in read for tensor in file.tensors]
    for tensor in tensors:
        for name in (tensor.name, *tensor.aliases):
            if name in places:
                raise malformed(
                    tensor.file.path, f"holds tensor {printable(name)}, as {places[name]} does", hint=_REPAIR
                )
            places[name] = tensor.file.path
    if not tensors:
        raise malformed(group.files[0].path, "holds no tensors", hint="name a checkpoint that has weights")
    for name, path in (group.places or {}).items():
        if places.get(name) != path:
            raise malformed(path, f"does not hold tensor {printable(name)}, as the index says", hint=_REPAIR)
    return tensors


def _check_outputs(outputs: Sequence[_Output], copies: Sequence[CheckpointFile]) -> None:
    """Each file has a path of its own."""
    paths = [file.path for file in copies]
    for output in outputs:
        paths += [shard.path for shard in output.shards]
        paths += [output.group.index_name] if len(output.shards) > 1 else []
    twice = next((path for path, count in Counter(paths).items() if count > 1), None)
    if twice is not None:
        raise SourceError(f"two files would become {printable(twice)}", hint="leave one of them out of the folder")


def _check_room(target: Path, plan: _Plan) -> None:
    needed = sum(converted.size for output in plan.outputs for converted in output.converted)
    check_room(target, needed, "the weights take")


def _write(plan: _Plan, staging: Staging, workers: int, progress: Progress) -> None:
    writer = ShardWriter(staging.files, progress)
    jobs: list[tuple[str, int, Callable[[], None]]] = []
    for output in plan.outputs:
        jobs += [(shard.path, shard.size, partial(writer.write_shard, shard)) for shard in output.shards]
        if len(output.shards) > 1:
            document = index_document(output.shards)
            path = output.group.index_name
            jobs.append((path, len(document), partial(writer.write_bytes, path, document)))
    jobs += [(file.path, file.size, partial(writer.copy, file)) for file in plan.copies]
    progress.expect(sum(size for _, size, _ in jobs))
    run_parallel([partial(_once, staging, path, job, size, progress) for path, size, job in jobs], workers)


def _once(staging: Staging, path: str, job: Callable[[], None], size: int, progress: Progress) -> None:
    """Do what an earlier call has not finished."""
    done = Digest.of(path.encode())
    if staging.paths_of(done) is not None:
        progress.start(path, path, size)
        progress.finish(path, "exists")
        return
    job()
    staging.finish(done, [path])
