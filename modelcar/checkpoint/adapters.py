"""Telling an adapter from a model.

Conventions: PEFT saves `adapter_config.json` and `adapter_model.*`; diffusers saves `pytorch_lora_weights.*`;
llama.cpp writes `general.type = "adapter"` into the GGUF file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelcar.checkpoint.file import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelcar.checkpoint.file import CheckpointFile
    from modelcar.checkpoint.formats.header import Header

__all__ = ["ADAPTER_CONFIG", "is_adapter"]

ADAPTER_CONFIG = "adapter_config.json"
_PREFIXES = ("adapter_model", "adapter.", "pytorch_lora_weights")


def is_adapter(files: tuple[CheckpointFile, ...], headers: Mapping[str, Header]) -> bool:
    """Whether all weights among `files` belong to adapters."""
    weights = [file for file in files if file.role is Role.WEIGHT]
    return bool(weights) and all(_is_adapter_file(file, headers) for file in weights)


def _is_adapter_file(file: CheckpointFile, headers: Mapping[str, Header]) -> bool:
    if file.name.startswith(_PREFIXES):
        return True
    header = headers.get(file.path)
    return header is not None and header.metadata.get("general.type") == "adapter"
