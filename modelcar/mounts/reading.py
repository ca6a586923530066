"""What making a plan reads of an image, through a cache: all of it verified first, and kept for whoever comes next."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from modelcar.cache.indexes import Indexes
from modelcar.cache.lease import Leases
from modelcar.cache.origin import Origin
from modelcar.cache.reading import reader, whole
from modelcar.files import ReadAt
from modelcar.layers.index import ModelIndex
from modelcar.oci import Descriptor

__all__ = ["CacheReading"]

_LAYER_PATIENCE: Final = 86400.0  # seconds for a layer of an image without an index


class CacheReading:
    """`Reading` of one image."""

    def __init__(self, leases: Leases, indexes: Indexes, origin: Origin) -> None:
        self._leases, self._indexes, self._origin = leases, indexes, origin

    def index(self, layer: Descriptor) -> ModelIndex:
        return self._indexes.read(self._origin, layer).index

    @contextmanager
    def layer(self, layer: Descriptor) -> Iterator[BinaryIO]:
        with whole(self._leases, self._origin, layer, _LAYER_PATIENCE) as lease:
            yield io.BufferedReader(_Raw(reader(lease), layer.size))


class _Raw(io.RawIOBase):
    def __init__(self, read_at: ReadAt, size: int) -> None:
        super().__init__()
        self._read_at, self._size, self._position = read_at, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # io hands over nothing else
        data = self._read_at(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
