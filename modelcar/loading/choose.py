"""Which files make up the model, of all that lie in its folder."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from modelcar.checkpoint.formats.shards import check_complete, check_weight_map, is_index, shards_named
from modelcar.checkpoint.weights import preferred_copies
from modelcar.errors import MalformedFile, NotFound, UsageError
from modelcar.loading.files import WeightFile

__all__ = ["choose_files"]

_SINGLE: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_ENDING: Final = ".safetensors"


def choose_files(
    paths: Collection[str],
    read_object: Callable[[str], dict[str, Any]],
    open_file: Callable[[str], WeightFile],
    where: str,
) -> list[WeightFile]:
    """Open the safetensors files that a loader of this folder reads.

    As Transformers does it: `model.safetensors`, or the shards of the index; else all that lie there, but for second
    copies in another precision and Mistral's `consolidated` ones.

    Args:
        paths: names of the files in the folder, none in a folder below it.
        read_object: the JSON object in one of them.
        where: the folder, for messages.

    Raises:
        NotFound: no safetensors files lie there.
        UsageError: several models lie there.
        MalformedFile: a shard is missing, index and shards disagree, or two files have a tensor of one name.
    """
    if _SINGLE in paths:
        return [open_file(_SINGLE)]
    index = _index(paths, where)
    if index is not None:
        document = read_object(index)
        shards = shards_named(index, document)
        files = {path: open_file(path) for path in sorted(shards.values()) if path in paths}
        check_weight_map(index, document, {path: file.header for path, file in files.items()})
        return _unique(list(files.values()))
    chosen = sorted(preferred_copies([path for path in paths if path.endswith(_ENDING)]))
    if not chosen:
        raise NotFound(f"there are no safetensors files directly in {where}", hint="name the folder that they lie in")
    check_complete(chosen)
    return _unique([open_file(path) for path in chosen])


def _index(paths: Collection[str], where: str) -> str | None:
    indexes = sorted(path for path in paths if is_index(path))
    if _INDEX in indexes:
        return _INDEX
    if len(indexes) > 1:
        raise UsageError(
            f"{where} holds several models: {', '.join(indexes[:3])}",
            hint="put the files of one into a folder of its own; links will do",
        )
    return indexes[0] if indexes else None


def _unique(files: list[WeightFile]) -> list[WeightFile]:
    """`files`, unless two of them have a tensor of one name: which one is meant, nothing says."""
    places: dict[str, str] = {}
    for file in files:
        for tensor in file.header.tensors:
            if (other := places.setdefault(tensor.name, file.path)) != file.path:
                raise MalformedFile(
                    f"{file.path}: tensor {tensor.name!r} is in {other}, too", hint="load the one file that is wanted"
                )
    return files
