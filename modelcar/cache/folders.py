"""Partial blobs on disk: `ROOT/partial/<algorithm>/<hex>/<grid>/`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from modelcar.errors import InvalidDigest, ModelcarError, StorageError
from modelcar.files import read_own
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import MAX_GRID, PartialBlob
from modelcar.oci import Digest

__all__ = ["PartialFolders"]


class PartialFolders:
    """Which ones there are. Whoever opens one sees to it that nobody else does."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, digest: Digest, grid: str) -> Path:
        return self._root / digest.algorithm / digest.hex / grid

    def take(self, grid: Grid) -> PartialBlob:
        """What is here of a blob under this grid; begun if nothing is. Raises `StorageError`."""
        folder = self.path(grid.digest, grid.name)
        if folder.exists():
            try:
                partial = PartialBlob.open(folder)
            except ModelcarError:
                partial = None
            if partial is not None and partial.grid == grid:
                return partial
            if partial is not None:
                partial.close()
            shutil.rmtree(folder, ignore_errors=True)
        return PartialBlob.create(folder, grid)

    def find(self, digest: Digest, name: str) -> PartialBlob | None:
        """What is here of a blob under the grid of this name."""
        try:
            return PartialBlob.open(self.path(digest, name))
        except ModelcarError:
            return None

    def grid(self, digest: Digest, name: str) -> Grid | None:
        """A grid of a blob of which some is here."""
        try:
            return Grid.parse(read_own(self.path(digest, name) / "grid.json", MAX_GRID))
        except (OSError, ModelcarError):
            return None

    def names(self, digest: Digest) -> list[str]:
        """The names of the grids under which some of a blob is here."""
        return [path.name for path in (self._root / digest.algorithm / digest.hex).glob("*") if path.is_dir()]

    def digests(self) -> Iterator[Digest]:
        """Every blob of which some is here."""
        for path in sorted(self._root.glob("*/*")):
            with suppress(InvalidDigest):
                yield Digest(path.parent.name, path.name)

    def size(self, digest: Digest) -> int:
        """Bytes on disk that they take."""
        total = 0
        for path in (self._root / digest.algorithm / digest.hex).glob("*/*"):
            with suppress(OSError):
                total += path.stat().st_blocks * 512
        return total

    def discard(self, digest: Digest, name: str) -> None:
        """Delete what is here of a blob under one grid; what stays because the disk fails does no harm."""
        folder = self.path(digest, name)
        with suppress(OSError):
            (folder / "grid.json").unlink(missing_ok=True)  # without it, what is left is not taken for a blob
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()  # unless there are others

    def remove(self, digest: Digest) -> None:
        """Delete what is here of a blob. Raises `StorageError`."""
        folder = self._root / digest.algorithm / digest.hex
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            pass
        except OSError as e:
            raise StorageError(f"cannot remove {folder}: {e.strerror}") from None
