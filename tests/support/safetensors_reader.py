"""What the safetensors library, which is not ours, finds in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import safetensors

__all__ = ["metadata_of", "tensors_of", "written"]


def tensors_of(file: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Dtype, shape and bytes of each tensor, in the order in which they lie in the file."""
    found = cast("Callable[[bytes], list[tuple[str, dict[str, Any]]]]", safetensors.deserialize)(file.read_bytes())
    return {name: (each["dtype"], tuple(each["shape"]), bytes(each["data"])) for name, each in found}


def metadata_of(file: Path) -> dict[str, str]:
    data = file.read_bytes()
    header: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata: dict[str, str] = header.get("__metadata__", {})
    return metadata


def written(folder: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """All tensors of all files in a folder."""
    return {name: tensor for file in sorted(folder.rglob("*.safetensors")) for name, tensor in tensors_of(file).items()}
