"""What two models differ in, file by file and tensor by tensor, from what is known of them without their weights.

Files that lie in one and the same layer are the same. Others are compared by digest where both sides have one: images
that record them, the Hub, or a file of this disk, which is read only if the other side knows what it would have to be
and has as many bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from modelcar.checkpoint import Checkpoint, Tensor
from modelcar.files import open_unchanged
from modelcar.images.described import DescribedModel
from modelcar.layers.index import IndexedFile
from modelcar.oci import Digest

__all__ = ["Change", "Difference", "FileChange", "Side", "TensorChange", "compare"]


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
class Difference:
    """`tensors` are those that were added, removed or have another type or shape."""

    files: tuple[FileChange, ...]
    tensors: tuple[TensorChange, ...]

    @property
    def bytes_to_move(self) -> int:
        """To whoever has the first model and wants the second."""
        return sum(f.after or 0 for f in self.files if f.change not in (Change.SAME, Change.REMOVED))

    @property
    def is_none(self) -> bool:
        return not self.tensors and all(file.change is Change.SAME for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two models; `checkpoint` if that is what it is."""

    model: DescribedModel
    checkpoint: Checkpoint | None = None

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
    return Difference(files=tuple(_files(a, b)), tensors=tuple(_tensors(a.model, b.model)))


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
    if _place(a.model, old) == _place(b.model, new) is not None:
        return Change.SAME
    mine, theirs = old.digest, new.digest
    mine = mine or a.hashed(old)
    theirs = theirs or (b.hashed(new) if mine is not None else None)
    if mine is None or theirs is None:
        return Change.UNKNOWN
    return Change.SAME if mine == theirs else Change.CHANGED


def _place(model: DescribedModel, file: IndexedFile) -> tuple[Digest, int] | None:
    """Where an image has it. Two images that have it in one place have the same."""
    layer = model.layers.get(file.path)
    return (layer.digest, file.offset) if layer is not None else None


def _tensors(a: DescribedModel, b: DescribedModel) -> Iterator[TensorChange]:
    before = {tensor.name: _shown(tensor) for file in a.files for tensor in file.tensors}
    after = {tensor.name: _shown(tensor) for file in b.files for tensor in file.tensors}
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old != new:
            change = Change.ADDED if old is None else Change.REMOVED if new is None else Change.CHANGED
            yield TensorChange(name=name, change=change, before=old, after=new)


def _shown(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"
