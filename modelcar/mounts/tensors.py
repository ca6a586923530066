"""Which tensors of a mount are here: the model index says where each lies."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelcar.errors import ModelcarError
from modelcar.layers.index import IndexedFile
from modelcar.mounts.records import Records
from modelcar.packaging.inspect import parse_index_layer
from modelcar.store.layout import OciLayout

__all__ = ["Here", "TensorStatus", "indexed_files", "present_of", "tensors_of"]

Here = Mapping[str, Sequence[tuple[int, int]]]
"""Of every file that is mounted, which of its bytes can be read: ascending, not touching."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorStatus:
    """A tensor of the file at `path`; `size` are its bytes."""

    name: str
    path: str
    size: int
    is_here: bool


def indexed_files(root: Path, mount: str) -> tuple[IndexedFile, ...]:
    """The files that a mount shows as its model index describes them, tensors included, from the cache under `root`;
    none where there is no index."""
    plan = Records(root).plan(mount)
    if plan is None or plan.index is None:
        return ()
    shown = {file.path for file in plan.files}
    with suppress(ModelcarError, OSError):
        content = OciLayout(root, create=False).path(plan.index.digest).read_bytes()
        plan.index.check(content)
        layers = parse_index_layer(content).layers
        return tuple(file for layer in layers for file in layer.files if file.path in shown)
    return ()


def tensors_of(files: Iterable[IndexedFile], ranges: Here) -> tuple[TensorStatus, ...]:
    """In the order in which a loader reads them."""
    return tuple(
        TensorStatus(
            name=tensor.name,
            path=file.path,
            size=tensor.size,
            is_here=present_of(ranges[file.path], [(tensor.offset, tensor.offset + tensor.size)]) == tensor.size,
        )
        for file in files
        for tensor in file.tensors
    )


def present_of(here: Sequence[tuple[int, int]], wanted: Iterable[tuple[int, int]]) -> int:
    """How many bytes of the `wanted` ranges can be read."""
    total = 0
    for start, stop in wanted:
        n = max(0, bisect_right(here, start, key=lambda r: r[0]) - 1)
        while n < len(here) and here[n][0] < stop:
            total += max(0, min(stop, here[n][1]) - max(start, here[n][0]))
            n += 1
    return total
