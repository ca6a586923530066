"""What two models differ in, file by file and tensor by tensor, from what is known of them without their weights.

Files that lie in one and the same layer are the same; of a checkpoint that was built here it is known in which ones its
files lie. Others are compared by digest where both sides have one: images
that record them, the Hub, or a file of this disk, which is read only if the other side knows what it would have to be
and has as many bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from modelcar.checkpoint import Checkpoint, Tensor
from modelcar.errors import UsageError
from modelcar.files import open_unchanged
from modelcar.images.described import DescribedModel
from modelcar.layers.index import IndexedFile
from modelcar.oci import Digest
from modelcar.packaging.digests import known_digests
from modelcar.packaging.plan import plan_layers
from modelcar.store.memo import DigestMemo

__all__ = [
    "Amount",
    "Change",
    "Difference",
    "FileChange",
    "LayerChange",
    "Side",
    "TensorChange",
    "compare",
    "known_places",
]


class Change(StrEnum):
    """What became of a file or tensor between two models."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    SAME = "same"
    UNKNOWN = "unknown"  # as many bytes, and nobody knows which


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """Sizes are bytes; `None` where there is no such file."""

    path: str
    change: Change
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorChange:
    """`BF16 [4096, 128]`, before and after; contents are not compared."""

    name: str
    change: Change
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChange:
    """A layer with files of the model. One that changed is here twice: as it was, and as it is.

    Sizes are bytes as they are stored; `None` where the image has no such layer.
    """

    digest: Digest
    files: tuple[str, ...]
    change: Change
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class Amount:
    """How many there are of something on either side, and their bytes."""

    olds: int = 0
    news: int = 0
    before: int = 0
    after: int = 0

    @property
    def count(self) -> int:
        """How many, where what changed has two sides."""
        return max(self.olds, self.news)

    def plus(self, before: int | None, after: int | None) -> Amount:
        """With one more; `None` for the side on which it is not."""
        olds, news = self.olds + (before is not None), self.news + (after is not None)
        return Amount(olds, news, self.before + (before or 0), self.after + (after or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What `compare` found.

    Attributes:
        tensors: those that were added, removed or have another type or shape.
        layers: where both models are images.
        tensor_amounts: of all tensors. Those of one type and shape are the same if they lie in one place of files that
            are, and else unknown: contents are not compared.
    """

    files: tuple[FileChange, ...]
    tensors: tuple[TensorChange, ...]
    layers: tuple[LayerChange, ...] = ()
    tensor_amounts: Mapping[Change, Amount] = field(default_factory=dict)

    @property
    def file_amounts(self) -> Mapping[Change, Amount]:
        return _sums((file.change, file.before, file.after) for file in self.files)

    @property
    def layer_amounts(self) -> Mapping[Change, Amount]:
        return _sums((layer.change, layer.before, layer.after) for layer in self.layers)

    @property
    def bytes_to_move(self) -> int:
        """To whoever has the first model and wants the second."""
        return sum(f.after or 0 for f in self.files if f.change not in (Change.SAME, Change.REMOVED))

    @property
    def is_none(self) -> bool:
        return not self.tensors and all(file.change is Change.SAME for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two models; `checkpoint` if that is what it is.

    Attributes:
        places: of files of the checkpoint, where in a layer with which digest a build has put them.
    """

    model: DescribedModel
    checkpoint: Checkpoint | None = None
    places: Mapping[str, tuple[Digest, int]] = field(default_factory=dict)

    def place(self, file: IndexedFile) -> tuple[Digest, int] | None:
        """Where an image has the file. Two that have it in one place have the same."""
        layer = self.model.layers.get(file.path)
        return (layer.digest, file.offset) if layer is not None else self.places.get(file.path)

    def hashed(self, file: IndexedFile) -> Digest | None:
        """What a file of this disk hashes to. It is read. `None` if it is elsewhere."""
        found = self.checkpoint.file(file.path) if self.checkpoint is not None else None
        if found is None or found.awaited:
            return None
        with os.fdopen(open_unchanged(found.source, found.stamp), "rb") as f:
            return Digest("sha256", hashlib.file_digest(f, "sha256").hexdigest())


def compare(a: Side, b: Side) -> Difference:
    """What became of `a` in `b`.

    Raises:
        SourceChanged: a file changed meanwhile.
    """
    files = tuple(_files(a, b))
    same = {file.path for file in files if file.change is Change.SAME}
    return Difference(
        files=files,
        tensors=tuple(_tensors(a.model, b.model)),
        layers=tuple(_layers(a.model, b.model)),
        tensor_amounts=_sums(_weighed(a.model, b.model, same)),
    )


def _sums(changes: Iterable[tuple[Change, int | None, int | None]]) -> Mapping[Change, Amount]:
    sums: dict[Change, Amount] = {}
    for change, before, after in changes:
        sums[change] = sums.get(change, Amount()).plus(before, after)
    return sums


def _files(a: Side, b: Side) -> Iterator[FileChange]:
    before = {file.path: file for file in a.model.files}
    after = {file.path: file for file in b.model.files}
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None or new is None:
            change = Change.ADDED if old is None else Change.REMOVED
        else:
            change = _change(a, old, b, new)
        yield FileChange(path=path, change=change, before=old.size if old else None, after=new.size if new else None)


def _change(a: Side, old: IndexedFile, b: Side, new: IndexedFile) -> Change:
    if old.size != new.size:
        return Change.CHANGED
    if a.place(old) == b.place(new) is not None:
        return Change.SAME
    mine, theirs = old.digest, new.digest
    mine = mine or a.hashed(old)
    theirs = theirs or (b.hashed(new) if mine is not None else None)
    if mine is None or theirs is None:
        return Change.UNKNOWN
    return Change.SAME if mine == theirs else Change.CHANGED


def known_places(checkpoint: Checkpoint, memo: DigestMemo) -> dict[str, tuple[Digest, int]]:
    """Where a build of `checkpoint` puts its files, as far as an earlier one has hashed them; nothing is read."""
    with suppress(UsageError):  # more files than layers, say
        return {
            file.path: (known.digest, payload.offset)
            for layer in plan_layers(checkpoint)
            if (known := known_digests(layer, memo)) is not None
            for file, payload in zip(layer.files, layer.tar.payloads, strict=True)
        }
    return {}


def _tensors(a: DescribedModel, b: DescribedModel) -> Iterator[TensorChange]:
    before = {tensor.name: _shown(tensor) for file in a.files for tensor in file.tensors}
    after = {tensor.name: _shown(tensor) for file in b.files for tensor in file.tensors}
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old != new:
            change = Change.ADDED if old is None else Change.REMOVED if new is None else Change.CHANGED
            yield TensorChange(name=name, change=change, before=old, after=new)


def _layers(a: DescribedModel, b: DescribedModel) -> Iterator[LayerChange]:
    """Of `a` from the bottom up, then what `b` has besides; nothing unless both are images."""
    if not a.layers or not b.layers:
        return
    before, after = _by_layer(a), _by_layer(b)
    for digest, (size, files) in before.items():
        if digest in after:
            change, there = Change.SAME, after[digest][0]
        else:
            change, there = (Change.CHANGED if any(path in b.layers for path in files) else Change.REMOVED), None
        yield LayerChange(digest=digest, files=tuple(files), change=change, before=size, after=there)
    for digest, (size, files) in after.items():
        if digest not in before:
            change = Change.CHANGED if any(path in a.layers for path in files) else Change.ADDED
            yield LayerChange(digest=digest, files=tuple(files), change=change, before=None, after=size)


def _by_layer(model: DescribedModel) -> dict[Digest, tuple[int, list[str]]]:
    """Size and paths of each layer."""
    layers: dict[Digest, tuple[int, list[str]]] = {}
    for path, layer in model.layers.items():
        layers.setdefault(layer.digest, (layer.size, []))[1].append(path)
    return layers


def _weighed(
    a: DescribedModel, b: DescribedModel, same: Collection[str]
) -> Iterator[tuple[Change, int | None, int | None]]:
    before = {tensor.name: (file.path, tensor) for file in a.files for tensor in file.tensors}
    after = {tensor.name: (file.path, tensor) for file in b.files for tensor in file.tensors}
    for name, (path, tensor) in before.items():
        if name not in after:
            yield Change.REMOVED, tensor.size, None
            continue
        there, other = after[name]
        if _shown(tensor) != _shown(other):
            change = Change.CHANGED
        else:
            is_same = path == there and path in same and tensor.offset == other.offset
            change = Change.SAME if is_same else Change.UNKNOWN
        yield change, tensor.size, other.size
    for name, (_, tensor) in after.items():
        if name not in before:
            yield Change.ADDED, None, tensor.size


def _shown(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"
