"""A source whose files come into a folder of their own for a while, and are gone once they were sent on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelcar.checkpoint.remote import RemoteFile, RemoteSource, read_range
from modelcar.oci import Digest

if TYPE_CHECKING:
    from modelcar.checkpoint.provenance import Provenance
    from modelcar.checkpoint.ranges import Write

__all__ = ["Spooled"]


class Spooled:
    """`source`, whose files are brought to `folder` and nowhere else. What is on this disk already is used there."""

    def __init__(self, source: RemoteSource, folder: Path) -> None:
        self._source, self._folder = source, folder

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def root(self) -> Path:
        return self._folder

    @property
    def provenance(self) -> Provenance:
        return self._source.provenance

    @property
    def at_once(self) -> int:
        return self._source.at_once

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        return self._source.files

    def read(self, file: RemoteFile, start: int, stop: int) -> bytes | memoryview:
        return self._source.read(file, start, stop)

    def copy(self, file: RemoteFile, start: int, stop: int, write: Write) -> None:
        self._source.copy(file, start, stop, write)

    def bring(self, file: RemoteFile) -> Path:
        place = self.place(file)
        place.write_bytes(read_range(self._source, file, 0, file.size))
        return place

    def existing(self, file: RemoteFile) -> Path | None:
        return self._source.existing(file)

    def place(self, file: RemoteFile) -> Path:
        return self._folder.resolve() / Digest.of(file.path.encode()).hex

    def keep(self, file: RemoteFile, path: Path) -> Path:  # noqa: ARG002  # it lies where it is to stay
        return path

    def drop(self, path: Path) -> None:
        """Remove a file that was brought, and nothing else."""
        if path.parent == self._folder.resolve():
            path.unlink(missing_ok=True)
