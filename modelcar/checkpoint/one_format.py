"""The same weights in two formats, as repositories on the Hub often hold them: one of them is enough in an image.

`save_pretrained` of transformers and diffusers writes `model.safetensors`, `pytorch_model.bin`, `tf_model.h5` and
`flax_model.msgpack`; everybody else keeps the name and changes the ending.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelcar.checkpoint.file import Role
from modelcar.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelcar.checkpoint.file import CheckpointFile

__all__ = ["check_one_format"]

_PREFERRED: Final = ("safetensors", "gguf", "pickle")
_OF_LIBRARIES: Final = re.compile(r"(pytorch|tf|flax|rust)_model")
_SHARD: Final = re.compile(r"-[0-9]{5}-of-[0-9]{5}")


def check_one_format(files: Iterable[CheckpointFile], name: str) -> None:
    """Refuse a source in which some weights lie in more than one format.

    Raises:
        SourceError: naming them, and how to choose.
    """
    groups: dict[str, dict[str, CheckpointFile]] = {}
    for file in files:
        if file.role is Role.WEIGHT:
            groups.setdefault(_stem(file), {}).setdefault(file.format or file.name.rpartition(".")[2], file)
    double = [group for group in groups.values() if len(group) > 1]
    if not double:
        return
    first = double[0]
    kept = min(first, key=lambda found: (_PREFERRED.index(found) if found in _PREFERRED else len(_PREFERRED), found))
    others = {_pattern(file) for group in double for found, file in group.items() if found != kept}
    options = " ".join(f"--ignore '{pattern}'" for pattern in sorted(others))
    paths = " and ".join(file.path for _, file in sorted(first.items(), key=lambda item: item[0] != kept))
    raise SourceError(f"{name} holds the same weights in {len(first)} formats: {paths}", hint=f"take one: {options}")


def _stem(file: CheckpointFile) -> str:
    """What all copies of some weights are called, whatever their format."""
    stem = _SHARD.sub("", file.name).rpartition(".")[0]
    return f"{file.folder}/{'model' if _OF_LIBRARIES.fullmatch(stem) else stem}"


def _pattern(file: CheckpointFile) -> str:
    """Matches all shards of the same copy, and their index."""
    stem, _, ending = _SHARD.sub("*", file.path).rpartition(".")
    return f"{stem}.{ending}" if "*" not in stem else f"{stem}.{ending}*"
