"""Weight files inside an image: read by ranges of its layers, and verified chunk by chunk by its model index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from modelcar.checkpoint.formats.header import Header
from modelcar.errors import DigestMismatch, InvalidContent, SizeMismatch
from modelcar.images.reader import ModelReader
from modelcar.layers.hashing import Chunk
from modelcar.loading.files import Piece
from modelcar.packaging.headers import check_header
from modelcar.packaging.unpack import Readable

__all__ = ["ImageFile"]

_BLOCK: Final = 256 << 10  # bytes; small enough to be in a core's cache when they are hashed and put in their places


class ImageFile:
    """A safetensors file in a layer.

    Its header is taken from the index, so that it costs no request, and is a `proof`: the file has to begin with it.
    """

    gap: Final = 1 << 20

    def __init__(self, reader: ModelReader, path: str) -> None:
        """
        Raises:
            InvalidContent: it is no valid safetensors file, or the index says of it what its own header does not.
            WorldError: its header is not in the index, and cannot be read.
        """
        self.path = path
        self._source, self._layer, self._file = reader.source, reader.layer(path), reader.files[path]
        raw = self._file.header
        if self._file.format != "safetensors":
            raise InvalidContent(f"{path}: the model index calls it {self._file.format or 'a file without a format'}")
        self.proof = raw or b""
        self.header: Header = reader.header(path) if raw is None else check_header(self._file, raw)

    def unit(self, offset: int) -> tuple[int, int]:
        grid, base = self._layer.grid, self._file.offset
        start, size = grid.bounds(grid.at(base + offset))
        return start - base, start - base + size

    def read_into(self, offset: int, pieces: Iterator[Piece], size: int) -> None:
        grid, offset = self._layer.grid, self._file.offset + offset
        places = _Places(pieces)
        with self._source.open_range(self._layer.descriptor, offset, size) as stream:
            for number in grid.numbers(offset, size):
                self._read_chunk((grid.table or ())[number], stream, places)

    def _read_chunk(self, chunk: Chunk, stream: Readable, places: _Places) -> None:
        found, left = chunk.digest.hasher(), chunk.size
        while left:
            data = stream.read(min(left, _BLOCK))
            if not data:
                descriptor = self._layer.descriptor
                raise SizeMismatch(f"layer {descriptor.digest} has fewer than the {descriptor.size} bytes promised")
            found.update(data)
            places.put(memoryview(data))
            left -= len(data)
        if found.hexdigest() != chunk.digest.hex:
            where = f"the {chunk.size} bytes from {chunk.offset} on of layer {self._layer.descriptor.digest}"
            raise DigestMismatch(f"{self.path}: {where} are not what the model index promises")


class _Places:
    """Puts bytes that come in order into memory here and there."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._piece: Piece = 0

    def put(self, data: memoryview) -> None:
        while data:
            if not self._piece:
                self._piece = next(self._pieces)
            piece = self._piece
            if isinstance(piece, int):
                n = min(piece, len(data))
                self._piece = piece - n
            else:
                n = min(len(piece), len(data))
                piece[:n] = data[:n]
                self._piece = piece[n:]
            data = data[n:]
