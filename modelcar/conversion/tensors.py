"""The tensors that a file brings, whatever its format: where their elements lie, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from modelcar.checkpoint import CheckpointFile
from modelcar.conversion.pickled import Extent

__all__ = ["LeftOut", "StoredTensor", "TensorFile"]

_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        dtype, shape: as safetensors says them.
        size: bytes, once its elements lie behind each other.
        file: where they lie now.
        offset: byte of the file at which the first one begins.
        item: bytes of an element.
        dims: (elements, distance in elements) of each dimension, outermost first; empty if they lie behind each other.
        extent: the storage around them, to be checked before it is used; `None` where there is nothing to check.
        aliases: other names of the very same tensor, which are not written.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    file: CheckpointFile
    offset: int
    item: int = 1
    dims: tuple[tuple[int, int], ...] = ()
    extent: Extent | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What of the source is not in the result: a file, or a value of one, and why."""

    path: str
    why: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFile:
    """One file's tensors, in its own order, with what it says about them and what of it was left out."""

    tensors: tuple[StoredTensor, ...]
    metadata: Mapping[str, str] = field(default_factory=lambda: _NONE)
    left_out: tuple[LeftOut, ...] = ()
