"""What is wanted of one layer into files, by the model index: parallel ranges, each byte written once, where it stays.

What has come survives a kill at any moment, chunk by chunk: the next call with the same staging folder asks for the
rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from modelcar.checkpoint.formats.header import Header
from modelcar.errors import InvalidContent, InvalidDocument, StorageError
from modelcar.images.nearby import check_places
from modelcar.images.reader import ModelLayer, ModelReader
from modelcar.layers.index import IndexedFile
from modelcar.lazy.data import Place
from modelcar.lazy.download import Downloads
from modelcar.lazy.partial import PartialBlob
from modelcar.oci import Digest
from modelcar.packaging.headers import check_header
from modelcar.packaging.staging import Staging
from modelcar.packaging.subset import Move, Subset

__all__ = ["LayerPull", "WantedFile", "check_owners", "header_of"]


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A file of the model, and what is to be written of it."""

    file: IndexedFile
    content: Subset

    @classmethod
    def whole(cls, file: IndexedFile) -> WantedFile:
        moves = (Move(0, file.size, 0),) if file.size else ()
        return cls(file, Subset(head=b"", moves=moves, size=file.size))

    @property
    def is_whole(self) -> bool:
        return not self.content.head and self.content.size == self.file.size

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The bytes of the layer that are needed of it: its own header is held against the index."""
        file = self.file
        header = [(0, file.header_size or 0)] if file.tensors else []
        wanted = [*header, *((move.start, move.stop) for move in self.content.moves)]
        return [(file.offset + start, file.offset + stop) for start, stop in wanted if start < stop]

    def places(self, path: Path) -> list[Place]:
        """Where the layer's bytes lie in the new file."""
        at, size = self.file.offset, self.content.size
        return [Place(at + move.start, at + move.stop, path, move.target, size) for move in self.content.moves]


def check_owners(layers: Sequence[ModelLayer]) -> None:
    """Raise `InvalidContent` if two layers have a file of the same name."""
    owners: dict[str, Digest] = {}
    for layer in layers:
        digest = layer.descriptor.digest
        for file in layer.files:
            if (owner := owners.setdefault(file.path, digest)) != digest:
                raise InvalidContent(f"{file.path} is in two layers of the image: {owner} and {digest}")


class LayerPull:
    """One layer on its way into `staging`."""

    def __init__(self, reader: ModelReader, layer: ModelLayer, wanted: Sequence[WantedFile], staging: Staging) -> None:
        self._root, self._layer, self._staging = reader.root, layer, staging
        self._wanted = sorted(wanted, key=lambda one: one.file.offset)
        is_whole = len(wanted) == len(layer.files) and all(one.is_whole for one in wanted)
        self._ranges = None if is_whole else [*layer.around, *(part for one in wanted for part in one.ranges)]

    @property
    def size(self) -> int:
        """Bytes that come: whole chunks."""
        if self._ranges is None:
            return self._layer.descriptor.size
        grid = self._layer.grid
        numbers = {n for start, stop in self._ranges for n in grid.numbers(start, stop - start)}
        return sum(grid.bounds(number)[1] for number in numbers)

    def run(self, downloads: Downloads, advance: Callable[[int], None]) -> None:
        """Bring what is missing, check all, and note that the files are there.

        Raises:
            InvalidContent: what came is not what was promised, or the index misleads.
            WorldError: the registry refuses or cannot be reached, or the disk fails; what has come is kept.
        """
        paths = [self._staging.files / one.file.path for one in self._wanted]
        places = [place for one, path in zip(self._wanted, paths, strict=True) for place in one.places(path)]
        digest = self._layer.descriptor.digest
        with _partial(self._staging.partial(digest), self._layer, places) as blob:
            downloads.fill(blob, self._ranges, advance)
            check_places(self._layer, self._root, partial(_read_at, blob))
            for one in self._wanted:
                if one.file.tensors:
                    check_header(one.file, blob.read(one.file.offset, one.file.header_size or 0))
        for one, path in zip(self._wanted, paths, strict=True):
            if one.content.head or not one.content.moves:
                _write_head(path, one.content)
        self._staging.finish(digest, [one.file.path for one in self._wanted])
        blob.discard()


def header_of(reader: ModelReader, file: IndexedFile) -> Header:
    """As the model index has it, or else the file itself; that both say the same is checked when the file is here.

    Raises: as `ModelReader.header`.
    """
    return check_header(file, file.header) if file.header is not None else reader.header(file.path)


@contextmanager
def _partial(folder: Path, layer: ModelLayer, places: Sequence[Place]) -> Iterator[PartialBlob]:
    """What has come of a layer, or nothing of it yet."""
    blob: PartialBlob | None = None
    with suppress(StorageError, InvalidDocument):
        blob = PartialBlob.open(folder, places)
    if blob is not None and blob.grid != layer.grid:
        blob.close()
        blob = None
    if blob is None:
        blob = PartialBlob.create(folder, layer.grid, places)
    try:
        yield blob
    finally:
        blob.close()


def _read_at(blob: PartialBlob, offset: int, n: int) -> bytes:
    """As if the blob ended where a chunk of it is missing."""
    return blob.read(offset, min(n, blob.available(offset)))


def _write_head(path: Path, content: Subset) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    with open(fd, "wb") as file:  # which does not truncate what has a descriptor
        file.write(content.head)
        os.ftruncate(fd, content.size)
