"""Do the shards of a model make up the whole model?

`model.safetensors.index.json` says in which file each tensor lies: `{"weight_map": {tensor: file, …}, "metadata": …}`,
files relative to the index. Source: transformers, `save_pretrained`. Shards are named `…-00001-of-00003.safetensors`;
GGUF files are split under the same kind of name and have no index.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modelcar.checkpoint.formats.documents import read_object
from modelcar.checkpoint.formats.reader import malformed, printable
from modelcar.errors import UnsafePath

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modelcar.checkpoint.file import CheckpointFile
    from modelcar.checkpoint.formats.header import Header

__all__ = ["check_complete", "check_index", "is_index", "shard_of"]

_SHARD = re.compile(r"(.*)-([0-9]{5})-of-([0-9]{5})(\.safetensors|\.gguf)")
_INDEX = re.compile(r".*\.safetensors\.index(\.[A-Za-z0-9_-]+)?\.json")
_MISSING = "download the missing file"
_REPAIR = "download index and shards again from one revision, or save the model anew"


def is_index(path: str) -> bool:
    """Whether `path` is called like a safetensors index; diffusers puts a variant before the ending."""
    return _INDEX.fullmatch(path) is not None


def shard_of(path: str) -> tuple[str, int, int] | None:
    """(what the set of shards is called, this one's number from 1, how many there are) of a shard's path."""
    match = _SHARD.fullmatch(path)
    return (match[1] + match[4], int(match[2]), int(match[3])) if match else None


def check_complete(paths: Iterable[str]) -> None:
    """Refuse a set of numbered shards of which some are missing.

    Raises:
        MalformedFile: naming the first one that is missing.
    """
    sets: dict[tuple[str, int], dict[int, str]] = {}
    for path in paths:
        shard = shard_of(path)
        if shard is not None:
            name, number, total = shard
            sets.setdefault((name, total), {})[number] = path
    for (_, total), present in sets.items():
        missing = next((n for n in range(1, total + 1) if n not in present), None)
        if missing is not None:
            known = next(iter(present.values()))
            name = re.sub(r"-[0-9]{5}-of-", f"-{missing:05d}-of-", known)
            raise malformed(known, f"is one of {total} shards, and {printable(name)} is missing", hint=_MISSING)


def check_index(index: CheckpointFile, headers: Mapping[str, Header]) -> None:
    """Compare a safetensors index with the shards that it names; `headers` are those of the whole checkpoint, by path.

    Raises:
        MalformedFile: a shard is missing, or index and shards disagree about a tensor.
        UnsafePath: a shard's name leads elsewhere.
    """
    weight_map = _weight_map(index)
    shards = {shard: _shard_path(index, shard) for shard in dict.fromkeys(weight_map.values())}
    for shard, path in shards.items():
        if path not in headers:
            raise malformed(index.path, f"names the shard {printable(shard)}, which is not there", hint=_MISSING)
    contents = {shard: {tensor.name for tensor in headers[path].tensors} for shard, path in shards.items()}
    places = {tensor: shard for shard, tensors in contents.items() for tensor in tensors}
    for tensor, shard in weight_map.items():
        if tensor not in contents[shard]:
            place = next((path for path, h in headers.items() if any(t.name == tensor for t in h.tensors)), None)
            where = f"it lies in {printable(place)}" if place is not None else "no file has it"
            raise malformed(
                index.path, f"places tensor {printable(tensor)} in {printable(shard)}, but {where}", hint=_REPAIR
            )
    unknown = min(places.keys() - weight_map.keys(), default=None)
    if unknown is not None:
        where = printable(places[unknown])
        raise malformed(index.path, f"does not know tensor {printable(unknown)}, which lies in {where}", hint=_REPAIR)


def _weight_map(index: CheckpointFile) -> dict[str, str]:
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise malformed(index.path, "has no 'weight_map'", hint=_REPAIR)
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str):
            raise malformed(index.path, f"gives no file name for tensor {printable(tensor)}", hint=_REPAIR)
    return weight_map


def _shard_path(index: CheckpointFile, shard: str) -> str:
    """The path in the checkpoint of what the index calls `shard`."""
    if not shard or shard.startswith("/") or "\\" in shard or any(p in ("", ".", "..") for p in shard.split("/")):
        raise UnsafePath(
            f"{index.path} names the shard {printable(shard)}, which is no path below it",
            hint="name the shard as it lies there",
        )
    return f"{index.folder}/{shard}" if index.folder else shard
