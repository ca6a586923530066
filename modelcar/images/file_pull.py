"""A model's files into a folder, by the model index: parallel ranges, written once, straight to where they stay.

What has come survives a kill at any moment: the next call with the same folder asks for the rest.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from modelcar.errors import NotFound
from modelcar.images.layer_pull import LayerPull, WantedFile, check_owners
from modelcar.images.nearby import copy_files
from modelcar.images.reader import ModelLayer, ModelReader
from modelcar.layers.bytemap import ByteMap
from modelcar.layers.index import IndexedFile
from modelcar.lazy.download import Downloads
from modelcar.lazy.grid import Grid
from modelcar.lazy.sources import ByteStream, SourceKind
from modelcar.oci import Descriptor, Digest, compact_json, media_types
from modelcar.packaging.distinct import require_distinct
from modelcar.packaging.fetch import RangedSource, RangeStream
from modelcar.packaging.staging import Staging, open_staging
from modelcar.packaging.unpack import Unpacked
from modelcar.progress import SILENT, Progress
from modelcar.registry.cancel import run_parallel

__all__ = ["Here", "SourceChunks", "pull_files"]

Here = Callable[[Descriptor], ByteMap | None]
"""A layer that is on this machine already, or `None`."""


class SourceChunks:
    """A `ChunkSource` over an image on this machine."""

    kind = SourceKind.MIRROR

    def __init__(self, source: RangedSource, name: str) -> None:
        self.name = name
        self._source = source

    @contextmanager
    def fetch(self, grid: Grid, offset: int, length: int) -> Iterator[ByteStream]:
        blob = Descriptor(media_type=media_types.LAYER_TAR, digest=grid.digest, size=grid.size)
        with self._source.open_range(blob, offset, length) as stream:
            yield _Stream(stream)


class _Stream:
    def __init__(self, stream: RangeStream) -> None:
        self._stream = stream

    def read(self, n: int, /) -> bytes:
        return self._stream.read(n)

    def close(self) -> None:
        """It waits for nobody."""


def pull_files(
    reader: ModelReader,
    downloads: Downloads,
    target: Path,
    *,
    include: Sequence[str] = (),
    workers: int = 4,
    progress: Progress = SILENT,
    here: Here = lambda _: None,
) -> Unpacked:
    """Fill `target`, which must not exist or be empty, with the model's files, or those that `include` names.

    Args:
        include: patterns as the shell's, over the whole path; `*` matches `/`, too, as `huggingface_hub` has it.
        here: finds layers that need not be downloaded.

    Raises:
        UsageError: `target` has something in it, or its file system takes two of the files for one.
        NotFound: no pattern fits a file.
        InvalidContent: what came is not what was promised; nothing is visible then.
        WorldError: the registry refuses or cannot be reached, or the disk fails.
    """
    wanted = {path for path in reader.files if not include or any(fnmatchcase(path, pattern) for pattern in include)}
    if not wanted:
        raise NotFound(
            f"no file of the model fits {' or '.join(include) or 'anything'}", hint="`modelcar inspect` lists them"
        )
    check_owners(reader.layers)
    whole = reader.manifest.digest
    identity = whole if not include else Digest.of(compact_json({"manifest": str(whole), "files": sorted(wanted)}))
    with open_staging(target, identity) as staging:
        require_distinct(wanted, staging.folder)
        pulling = _Pulling(reader, downloads, staging, wanted, progress, here)
        run_parallel(pulling.jobs(), workers)
        files = [staging.files / path for path in wanted]
        return Unpacked(files=len(files), size=sum(path.lstat().st_size for path in files))


class _Pulling:
    def __init__(
        self,
        reader: ModelReader,
        downloads: Downloads,
        staging: Staging,
        wanted: set[str],
        progress: Progress,
        here: Here,
    ) -> None:
        self._reader, self._downloads, self._staging = reader, downloads, staging
        self._wanted, self._progress, self._here = wanted, progress, here

    def jobs(self) -> list[partial[None]]:
        """One for each layer with something of what is wanted, the largest first."""
        chosen = []
        for layer in self._reader.layers:
            files = [file for file in layer.files if file.path in self._wanted]
            if files:
                pull = LayerPull(self._reader, layer, [WantedFile.whole(file) for file in files], self._staging)
                chosen.append((pull.size, partial(self._layer, layer, files, pull)))
                self._progress.expect(pull.size)
        chosen.sort(key=lambda entry: -entry[0])
        return [job for _, job in chosen]

    def _layer(self, layer: ModelLayer, files: Sequence[IndexedFile], pull: LayerPull) -> None:
        digest = layer.descriptor.digest
        self._progress.start(str(digest), digest.short, pull.size)
        if self._staging.paths_of(digest) is not None:
            self._progress.finish(str(digest), "exists")
            return
        if self._copied(layer, files):
            self._progress.finish(str(digest), "copied")
            return
        pull.run(self._downloads, partial(self._progress.advance, str(digest)))
        self._progress.finish(str(digest))

    def _copied(self, layer: ModelLayer, files: Sequence[IndexedFile]) -> bool:
        """Whether the layer is on this machine, and its files are now where they are wanted."""
        content = self._here(layer.descriptor)
        if content is None:
            return False
        digest = layer.descriptor.digest
        shutil.rmtree(self._staging.partial(digest), ignore_errors=True)  # it vouches for what is about to be replaced
        places = [(file, self._staging.files / file.path) for file in files]
        if not copy_files(content, layer, self._reader.root, places, partial(self._progress.advance, str(digest))):
            return False
        self._staging.finish(digest, [file.path for file in files])
        return True
