"""What a safetensors file begins with: the length of its header, and the header."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["safetensors_head"]

_ALIGNMENT = 8  # bytes; what the reference writer pads the header to


def safetensors_head(tensors: Iterable[tuple[str, str, tuple[int, ...], int]], metadata: Mapping[str, str]) -> bytes:
    """The bytes before the first tensor's, padded as the reference writer does it.

    Args:
        tensors: name, dtype, shape and bytes of each, in the order in which they follow without gaps.
        metadata: text to text; left out where there is none.
    """
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    position = 0
    for name, dtype, shape, size in tensors:
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text
