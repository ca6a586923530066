"""Which files of a checkpoint make up one set of weights, and what that is called as safetensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from modelcar.checkpoint import Checkpoint, CheckpointFile, Role
from modelcar.checkpoint.formats.documents import read_object
from modelcar.checkpoint.formats.reader import malformed, printable
from modelcar.checkpoint.formats.shards import check_complete, is_index, shard_of, shards_named

__all__ = ["Group", "group_weights", "is_torch_index"]

_TORCH_INDEX: Final = re.compile(r".*\.(bin|pt|pth)\.index(\.[A-Za-z0-9_-]+)?\.json")
_ENDING: Final = re.compile(r"\.(safetensors|bin|pt|pth|ckpt|pkl|pickle|th|torch)", re.IGNORECASE)
# As transformers and diffusers name a whole model; a variant such as fp16 may follow.
_WHOLE_MODEL: Final = re.compile(r"(model|diffusion_pytorch_model)(?:\.([A-Za-z0-9_-]+))?")
_TORCH_MODEL: Final = re.compile(r"pytorch_model(\.[A-Za-z0-9_-]+)?")
_NEVER_SHARDED: Final = ("adapter_model", "adapter", "pytorch_lora_weights")
_FORMATS: Final = frozenset({"pickle", "safetensors"})
_MISSING: Final = "download the missing file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Files that hold one set of tensors between them.

    Attributes:
        folder: where they lie in the checkpoint; empty at the top.
        stem: what the result is called, without its ending.
        files: in order.
        pickled: whether they are pickles; safetensors otherwise.
        index: the document that says what lies in which of them, if there is one.
        places: what that says: the path of a file by the name of a tensor.
    """

    folder: str
    stem: str
    files: tuple[CheckpointFile, ...]
    pickled: bool
    index: CheckpointFile | None = None
    places: Mapping[str, str] | None = None

    @property
    def may_be_sharded(self) -> bool:
        """Whether loaders look for shards of it: PEFT and diffusers want an adapter in one file."""
        return not self.stem.startswith(_NEVER_SHARDED)

    @property
    def is_whole_model(self) -> bool:
        """Whether it goes by a name under which loaders are sure to look for shards."""
        return _WHOLE_MODEL.fullmatch(self.stem) is not None

    def file_name(self, number: int, count: int) -> str:
        """The path of one of `count` shards, from 1 on."""
        suffix = f"-{number:05d}-of-{count:05d}" if count > 1 else ""
        return self._path(f"{self.stem}{suffix}.safetensors")

    @property
    def index_name(self) -> str:
        """The path of the index over several shards; transformers puts a variant behind `index`."""
        model = _WHOLE_MODEL.fullmatch(self.stem)
        if model is not None and model[2]:
            return self._path(f"{model[1]}.safetensors.index.{model[2]}.json")
        return self._path(f"{self.stem}.safetensors.index.json")

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}" if self.folder else name


def is_torch_index(path: str) -> bool:
    """Whether `path` is called like the index over pickled shards."""
    return _TORCH_INDEX.fullmatch(path) is not None


def group_weights(checkpoint: Checkpoint) -> list[Group]:
    """The sets of pickled and of safetensors weights in a checkpoint, in the order of their first files.

    Raises:
        MalformedFile: a shard is missing, or an index makes no sense.
        UnsafePath: an index leads elsewhere.
    """
    weights = {file.path: file for file in checkpoint.files if file.role is Role.WEIGHT and file.format in _FORMATS}
    check_complete(weights)
    groups = []
    rest = dict(weights)
    for index in checkpoint.files:
        if is_torch_index(index.path) or is_index(index.path):
            groups.append(_indexed(index, weights))
            for file in groups[-1].files:
                rest.pop(file.path, None)
    sets: dict[tuple[str, str], list[CheckpointFile]] = {}
    for file in rest.values():
        shard = shard_of(file.path)
        sets.setdefault((shard[0] if shard else file.path, file.format or ""), []).append(file)
    groups += [_group(name, files) for (name, _), files in sets.items()]
    return sorted(groups, key=lambda group: group.files[0].path.encode())


def _indexed(index: CheckpointFile, weights: Mapping[str, CheckpointFile]) -> Group:
    document = read_object(index)
    shards = shards_named(index.path, document)
    missing = next((path for path in shards.values() if path not in weights), None)
    if missing is not None:
        raise malformed(index.path, f"names {printable(missing)}, which is not there", hint=_MISSING)
    files = [weights[path] for path in sorted(set(shards.values()), key=str.encode)]
    places = {tensor: shards[shard] for tensor, shard in document["weight_map"].items()}
    name, _, _ = index.path.rpartition(".index")
    variant = index.name.rpartition(".index")[2].removesuffix(".json")
    stem, dot, ending = name.rpartition(".")
    return _group(f"{stem}{variant}{dot}{ending}", files, index, places)


def _group(
    path: str,
    files: Sequence[CheckpointFile],
    index: CheckpointFile | None = None,
    places: Mapping[str, str] | None = None,
) -> Group:
    folder, _, name = path.rpartition("/")
    stem = _stem(name)
    pickled = any(file.format == "pickle" for file in files)
    torch = _TORCH_MODEL.fullmatch(stem) if pickled else None
    return Group(
        folder=folder,
        stem=f"model{torch[1] or ''}" if torch else stem,
        files=tuple(files),
        pickled=pickled,
        index=index,
        places=places,
    )


def _stem(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if stem and _ENDING.fullmatch(f"{dot}{ending}") else name
