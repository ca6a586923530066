"""Writing shards: the kernel copies what lies in one piece, the rest passes through a small buffer."""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Final, Self

from modelcar.checkpoint import CheckpointFile
from modelcar.checkpoint.formats.reader import malformed, printable
from modelcar.conversion.gather import gathered
from modelcar.conversion.pickled import Extent
from modelcar.conversion.sharding import Shard
from modelcar.conversion.tensors import StoredTensor
from modelcar.files import check_unchanged, open_unchanged, reading
from modelcar.layers.bytemap import ByteMap, FileRange, Literal, Segment
from modelcar.progress import Progress
from modelcar.registry.cancel import current_scope
from modelcar.scanning.content import Content
from modelcar.store.disk import copy_into

__all__ = ["ShardWriter"]

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


class ShardWriter:
    """Writes files below `root`, from several threads; each storage is checked once, before its first use."""

    def __init__(self, root: Path, progress: Progress) -> None:
        self._root = root
        self._progress = progress
        self._lock = Lock()
        self._checked: dict[tuple[Path, int], Lock] = {}

    def write_shard(self, shard: Shard) -> None:
        """
        Raises:
            MalformedFile: a storage is not what its checksum says.
            SourceChanged: a file is no longer what it was when it was looked at.
            OSError: as the kernel raised it.
        """
        with _shown(self._progress, shard.path, shard.size), _Output(self._root / shard.path) as output:
            segments: list[Segment] = [Literal(shard.head)]
            for tensor in shard.tensors:
                self._check(tensor)
                if not tensor.dims:
                    segments.append(_range(tensor.file, tensor.offset, tensor.size))
                    continue
                self._copy(output, segments, shard.path)
                segments = []
                self._gather(output, tensor, shard.path)
            self._copy(output, segments, shard.path)

    def copy(self, file: CheckpointFile) -> None:
        """A file as it is, by a reflink where the file system can. Raises as `write_shard`."""
        with _shown(self._progress, file.path, file.size), _Output(self._root / file.path) as output:
            self._copy(output, [_range(file, 0, file.size)], file.path)

    def write_bytes(self, path: str, data: bytes) -> None:
        """A small file of our own."""
        with _shown(self._progress, path, len(data)), _Output(self._root / path) as output:
            output.append(data)
            self._progress.advance(path, len(data))

    def _copy(self, output: _Output, segments: Iterable[Segment], key: str) -> None:
        def advance(n: int) -> None:
            if (scope := current_scope()) is not None:
                scope.check()
            self._progress.advance(key, n)

        with ByteMap(list(segments)).open() as reader:
            copy_into(output.fd, reader, advance)

    def _gather(self, output: _Output, tensor: StoredTensor, key: str) -> None:
        fd = open_unchanged(tensor.file.source, tensor.file.stamp)
        try:
            with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as whole, memoryview(whole) as view:
                for piece in gathered(view, tensor.offset, tensor.dims, tensor.item):
                    if (scope := current_scope()) is not None:
                        scope.check()
                    output.append(piece)
                    self._progress.advance(key, len(piece))
            check_unchanged(fd, tensor.file.source, tensor.file.stamp)
        finally:
            os.close(fd)

    def _check(self, tensor: StoredTensor) -> None:
        """Compare the storage with its checksum, unless that was done before."""
        extent = tensor.extent
        if extent is None or extent.crc is None or not tensor.size:
            return
        key = (tensor.file.source, extent.offset)
        with self._lock:
            mine = key not in self._checked
            lock = self._checked.setdefault(key, Lock())
            if mine:
                lock.acquire()
        if not mine:
            with lock:  # until the other one is done
                return
        try:
            _compare(tensor, extent)
        finally:
            lock.release()


def _compare(tensor: StoredTensor, extent: Extent) -> None:
    file, crc = tensor.file, 0
    fd = open_unchanged(file.source, file.stamp)
    try:
        for piece in Content(reading(fd, file.path), file.size).pieces(extent.offset, extent.size):
            if (scope := current_scope()) is not None:
                scope.check()
            crc = zlib.crc32(piece, crc)
    finally:
        os.close(fd)
    if crc != extent.crc:
        raise malformed(
            file.path,
            f"the numbers of tensor {printable(tensor.name)} are damaged: their checksum is not the one in the file",
            hint="download the file again",
        )


def _range(file: CheckpointFile, offset: int, size: int) -> FileRange:
    return FileRange(path=file.source, offset=offset, size=size, stamp=file.stamp)


class _Output:
    """A new file that grows at its end; a context manager."""

    def __init__(self, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        self.fd = os.open(place, _NEW_FILE, 0o666)

    def append(self, data: bytes | bytearray) -> None:
        with memoryview(data) as view:
            position, done = os.fstat(self.fd).st_size, 0
            while done < len(view):
                done += os.pwrite(self.fd, view[done:], position + done)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


@contextmanager
def _shown(progress: Progress, path: str, size: int) -> Iterator[None]:
    """A file's bar, for the time of the block."""
    progress.start(path, path, size)
    yield
    progress.finish(path)
