"""The layers of an image as contents: from a store, downloaded one at a time, or asked for by ranges."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Final, Protocol

from modelcar.errors import SizeMismatch
from modelcar.files import ReadAt, reading
from modelcar.layers.bytemap import ByteMap
from modelcar.oci import Descriptor, Reference
from modelcar.progress import SILENT, Progress
from modelcar.registry.cancel import current_scope
from modelcar.scanning.content import Content, need_room, on_disk
from modelcar.scanning.limits import LimitExceeded
from modelcar.store import Store

if TYPE_CHECKING:  # a scan of what is on this machine starts without it
    from modelcar.registry import Registry

__all__ = ["QUICK_BYTES", "Blobs", "DownloadedBlobs", "QuickBlobs", "StoredBlobs", "blocks"]

QUICK_BYTES: Final = 1 << 20  # that a quick scan reads of all layers together
_QUICK_BLOCK: Final = 4 << 10
_BLOCK: Final = 256 << 10
_KEPT_BLOCKS: Final = 16
_PIECE: Final = 1 << 20


class Blobs(Protocol):
    """Where an image's layers are."""

    def open(self, descriptor: Descriptor) -> AbstractContextManager[Content]:
        """The bytes of a layer, as many as the descriptor promises.

        Raises:
            NotFound, InvalidContent, WorldError: they are not there, are others, or cannot be read.
        """


@dataclass(frozen=True, slots=True)
class StoredBlobs:
    """In a content store on this machine."""

    store: Store

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[Content]:
        blob = self.store.map(descriptor.digest)
        if blob.size != descriptor.size:
            raise SizeMismatch(f"{descriptor.digest} has {blob.size} bytes where {descriptor.size} were promised")
        yield Content(blocks(_reading_map(blob), blob.size, _BLOCK), blob.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadedBlobs:
    """In a registry: each is downloaded, verified, into a nameless file that goes when it has been looked at.

    `here` is asked first, so that nothing comes twice over the network.
    """

    registry: Registry
    ref: Reference
    here: Store | None = None
    spool: Path | None = None
    progress: Progress = SILENT

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[Content]:
        if self.here is not None and descriptor.digest in self.here:
            with StoredBlobs(self.here).open(descriptor) as content:
                yield content
            return
        need_room(self.spool, descriptor.size)
        with on_disk(self.spool):
            file = tempfile.TemporaryFile(dir=self.spool)  # noqa: SIM115  # closed below
        with file:
            self._download(descriptor, file)
            yield Content(reading(file.fileno(), descriptor.digest.short), descriptor.size)

    def _download(self, descriptor: Descriptor, file: IO[bytes]) -> None:
        key = f"download {descriptor.digest}"
        self.progress.expect(descriptor.size)
        self.progress.start(key, f"download {descriptor.digest.short}", descriptor.size)
        with self.registry.open_blob(self.ref, descriptor) as stream:
            while piece := stream.read(_PIECE):
                with on_disk(self.spool):
                    file.write(piece)
                self.progress.advance(key, len(piece))
        with on_disk(self.spool):
            file.flush()
        self.progress.finish(key)


@dataclass(slots=True, kw_only=True)
class QuickBlobs:
    """In a registry, a few ranges at a time and none verified: enough to see evil, never enough to see that none is.

    `left` bytes may still be read; what goes beyond raises `LimitExceeded`.
    """

    registry: Registry
    ref: Reference
    left: int = QUICK_BYTES
    read: int = 0
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[Content]:
        def read_at(offset: int, n: int) -> bytes:
            self._take(n)
            with self.registry.open_blob(self.ref, descriptor, offset, n, exact=True) as stream:
                return stream.readall()

        yield Content(blocks(read_at, descriptor.size, _QUICK_BLOCK), descriptor.size)

    def _take(self, n: int) -> None:
        with self._lock:
            if n > self.left:
                raise LimitExceeded("a quick scan reads only headers")
            self.left -= n
            self.read += n


def blocks(read_at: ReadAt, size: int, block: int) -> ReadAt:
    """`read_at` with the last few aligned blocks kept, so that many small reads cost few large ones. For one thread."""
    kept: OrderedDict[int, bytes] = OrderedDict()

    def one(number: int) -> bytes:
        if number in kept:
            kept.move_to_end(number)
            return kept[number]
        data = kept[number] = read_at(number * block, min(block, size - number * block))
        if len(kept) > _KEPT_BLOCKS:
            kept.popitem(last=False)
        return data

    def read(offset: int, n: int) -> bytes:
        if (scope := current_scope()) is not None:
            scope.check()
        n = min(n, size - offset)
        if n <= 0:
            return b""
        first, last = offset // block, (offset + n - 1) // block
        if last - first >= _KEPT_BLOCKS // 2:
            return read_at(offset, n)
        data = b"".join(one(number) for number in range(first, last + 1))
        start = offset - first * block
        return data[start : start + n]

    return read


def _reading_map(blob: ByteMap) -> Callable[[int, int], bytes]:
    def read_at(offset: int, n: int) -> bytes:
        with blob.open(offset, n) as reader:
            return reader.read(n)

    return read_at
