"""What a weight file says about itself before its first tensor byte, whatever the format."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_DIMENSIONS", "MAX_HEADER", "MAX_METADATA_ENTRIES", "MAX_RAW", "MAX_TENSORS", "Header", "Tensor"]

MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors format, used for GGUF as well
MAX_RAW = 16 * 2**20  # bytes of header that are kept as they are
MAX_TENSORS = 500_000  # a file; the largest published ones have some 100,000
MAX_METADATA_ENTRIES = 65_536  # a file; real ones have a few hundred
MAX_DIMENSIONS = 64  # what numpy and torch can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Where one tensor lies. `shape` is row-major, outermost dimension first, in elements; `offset` counts bytes from
    the start of the *file*; `size` is bytes. `dtype` is the format's own word: `BF16`, `F8_E4M3`, `Q4_K`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A validated header.

    Attributes:
        format: `"safetensors"` or `"gguf"`.
        size: bytes from the start of the file to where tensor data begins.
        raw: exactly the bytes `[0, size)`, or `None` where there are more than 16 MiB of them.
        tensors: in the order in which they lie in the file.
        padding: bytes at the end of the header that only align the data; not looked at.
        metadata: the format's key-value pairs. safetensors: text to text. GGUF: text to int, float, bool, str, a tuple
            of those for short arrays, or a `LongArray` that only says what was there.
    """

    format: str
    size: int
    raw: bytes | None = field(repr=False)
    tensors: tuple[Tensor, ...] = field(repr=False)
    metadata: Mapping[str, Any] = field(repr=False)
    padding: int = 0
