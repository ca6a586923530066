"""Do the shards of a model make up the whole model?

`model.safetensors.index.json` says in which file each tensor lies: `{"weight_map": {tensor: file, …}, "metadata": …}`,
files relative to the index. Source: transformers, `save_pretrained`. Shards are named `…-00001-of-00003.safetensors`;
GGUF files are split under the same kind of name and have no index.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from modelcar.checkpoint.formats.documents import read_object
from modelcar.checkpoint.formats.reader import malformed, printable
from modelcar.errors import UnsafePath

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modelcar.checkpoint.file import CheckpointFile
    from modelcar.checkpoint.formats.header import Header

__all__ = ["check_complete", "check_index", "check_weight_map", "is_index", "shard_of", "shards_named"]

_SHARD = re.compile(r"(.*)-([0-9]{5})-of-([0-9]{5})(\.safetensors|\.gguf|\.bin|\.pt|\.pth)")
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
    check_weight_map(index.path, read_object(index), headers)


def check_weight_map(index: str, document: Mapping[str, Any], headers: Mapping[str, Header]) -> None:
    """As `check_index`, for the index at the path `index` that has been read already."""
    weight_map = _weight_map(index, document)
    shards = shards_named(index, document)
    for shard, path in shards.items():
        if path not in headers:
            raise malformed(index, f"names the shard {printable(shard)}, which is not there", hint=_MISSING)
    contents = {shard: {tensor.name for tensor in headers[path].tensors} for shard, path in shards.items()}
    places = {tensor: shard for shard, tensors in contents.items() for tensor in tensors}
    for tensor, shard in weight_map.items():
        if tensor not in contents[shard]:
            place = next((path for path, h in headers.items() if any(t.name == tensor for t in h.tensors)), None)
            where = f"it lies in {printable(place)}" if place is not None else "no file has it"
            raise malformed(
                index, f"places tensor {printable(tensor)} in {printable(shard)}, but {where}", hint=_REPAIR
            )
    unknown = min(places.keys() - weight_map.keys(), default=None)
    if unknown is not None:
        where = printable(places[unknown])
        raise malformed(index, f"does not know tensor {printable(unknown)}, which lies in {where}", hint=_REPAIR)


def shards_named(index: str, document: Mapping[str, Any]) -> dict[str, str]:
    """The shards in the index at the path `index`: what it calls each, and where in the checkpoint that is.

    Raises:
        MalformedFile: it names none.
        UnsafePath: a name leads elsewhere.
    """
    return {shard: _shard_path(index, shard) for shard in dict.fromkeys(_weight_map(index, document).values())}


def _weight_map(index: str, document: Mapping[str, Any]) -> dict[str, str]:
    weight_map = document.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise malformed(index, "has no 'weight_map'", hint=_REPAIR)
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str):
            raise malformed(index, f"gives no file name for tensor {printable(tensor)}", hint=_REPAIR)
    return weight_map


def _shard_path(index: str, shard: str) -> str:
    """The path in the checkpoint of what the index calls `shard`."""
    if not shard or shard.startswith("/") or "\\" in shard or any(p in ("", ".", "..") for p in shard.split("/")):
        raise UnsafePath(
            f"{index} names the shard {printable(shard)}, which is no path below it",
            hint="name the shard as it lies there",
        )
    folder = index.rpartition("/")[0]
    return f"{folder}/{shard}" if folder else shard
