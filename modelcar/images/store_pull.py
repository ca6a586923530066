"""Large blobs into the local store: parallel ranges, which a killed pull leaves for the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from modelcar.errors import InvalidContent, ModelcarError, NotFound, StorageError, UsageError
from modelcar.images.reader import ModelReader
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy.download import Downloads
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import PartialBlob
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.fetch import RangedSource
from modelcar.progress import SILENT, Progress
from modelcar.store.disk import explain, lock
from modelcar.store.layout import OciLayout

__all__ = ["ranged_blobs"]

_LEAST: Final = 2 * CHUNK_SIZE  # bytes; a smaller blob is one request


def ranged_blobs(
    source: RangedSource, root: Descriptor, downloads: Downloads, layout: OciLayout, progress: Progress = SILENT
) -> Callable[[Descriptor], bool]:
    """What `Registry.pull` takes as `bring`, for the blobs of the image `root`.

    A layer that the model index describes is checked chunk by chunk; any blob by its own digest in the end.
    """
    grids = _grids(source, root)

    def bring(blob: Descriptor) -> bool:
        if blob.size < _LEAST:
            return False
        key = str(blob.digest)
        with _owned(layout.root / "ingest" / f"{blob.digest.algorithm}-{blob.digest.hex}") as folder:
            if folder is None:
                return False
            progress.start(key, blob.digest.short, blob.size)
            grid = grids.get(blob.digest) or Grid.plain(blob.digest, blob.size)
            _bring(folder, grid, downloads, layout, partial(progress.advance, key))
            progress.finish(key)
            return True

    return bring


def _grids(source: RangedSource, root: Descriptor) -> Mapping[Digest, Grid]:
    try:
        return {layer.descriptor.digest: layer.grid for layer in ModelReader(source, root).layers}
    except (NotFound, UsageError, InvalidContent):  # whoever uses the index will say what is wrong with it
        return {}


@contextmanager
def _owned(folder: Path) -> Iterator[Path | None]:
    """The folder, for this process alone; `None` if another one brings this blob."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock(folder, exclusive=True, blocking=False))
        except StorageError:
            yield None
            return
        except OSError as e:
            raise explain(e, f"cannot write {folder}") from None
        yield folder


def _bring(folder: Path, grid: Grid, downloads: Downloads, layout: OciLayout, advance: Callable[[int], None]) -> None:
    blob: PartialBlob | None = None
    with suppress(ModelcarError):
        blob = PartialBlob.open(folder)
        if blob.grid != grid:
            blob.close()
            blob = None
    blob = blob or PartialBlob.create(folder, grid)
    try:
        downloads.fill(blob, None, advance)
    except InvalidContent:
        blob.remove()
        raise
    finally:
        blob.close()
    (folder / "data").chmod(0o644)
    layout.adopt(folder / "data", grid.digest)
    blob.discard()
