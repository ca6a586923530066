"""A safetensors file with some of another one's tensors."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from modelcar.checkpoint.formats.header import Header
from modelcar.checkpoint.formats.safetensors_head import safetensors_head

__all__ = ["Move", "Subset", "subset"]


@dataclass(frozen=True, slots=True)
class Move:
    """The bytes `[start, stop)` of the original, which lie from `target` on in the new file."""

    start: int
    stop: int
    target: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """The new file: `head`, then what `moves` bring, in order and without gaps, `size` bytes in all."""

    head: bytes
    moves: tuple[Move, ...]
    size: int


def subset(header: Header, names: Collection[str]) -> Subset:
    """A file with those tensors of `header` that `names` has, in their order, and the same metadata.

    Neither dtype nor shape nor content of a tensor changes; the order keeps them as aligned as they were.
    """
    kept = [tensor for tensor in header.tensors if tensor.name in names]
    head = safetensors_head(((t.name, t.dtype, t.shape, t.size) for t in kept), header.metadata)
    moves: list[Move] = []
    target = len(head)
    for tensor in kept:
        if moves and moves[-1].stop == tensor.offset:
            moves[-1] = Move(moves[-1].start, tensor.offset + tensor.size, moves[-1].target)
        elif tensor.size:
            moves.append(Move(tensor.offset, tensor.offset + tensor.size, target))
        target += tensor.size
    return Subset(head=head, moves=tuple(moves), size=target)
