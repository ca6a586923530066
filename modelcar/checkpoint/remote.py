"""Checkpoints that lie elsewhere: what is asked of a place that holds files, and how to look at them from afar.

A listing and a few ranges say what there is to package: names, sizes, formats, headers. Weights are brought only when
somebody wants their bytes (`modelcar.checkpoint.arrival`), in the order in which they are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from modelcar.errors import SourceChanged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from modelcar.checkpoint.file import CheckpointFile
    from modelcar.checkpoint.provenance import Provenance
    from modelcar.checkpoint.ranges import Write
    from modelcar.files import ReadAt

__all__ = ["Remote", "RemoteFile", "RemoteSource", "read_piece", "read_range"]

_BLOCK: Final = 1 << 20  # bytes; a GGUF header is read in thousands of small steps


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file in a listing.

    Attributes:
        path: relative to the checkpoint, `/` between parts.
        size: bytes.
        version: what the place calls this very content (an etag); another version is another file.
        sha256: of the content, 64 hex digits, if the place itself says it.
    """

    path: str
    size: int
    version: str
    sha256: str | None = None


class RemoteSource(Protocol):
    """A place that holds a checkpoint. Safe to share between threads; retries are its own business.

    Every method raises a `WorldError` where the place refuses or cannot be reached, and `SourceChanged` where it has
    another version of a file than was listed.
    """

    @property
    def name(self) -> str:
        """As people call it, without credentials: `hf://org/name@v1`."""

    @property
    def root(self) -> Path:
        """The folder that its files are found under once they are here."""

    @property
    def provenance(self) -> Provenance: ...

    @property
    def at_once(self) -> int:
        """How many ranges of one file to ask for at a time."""

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """What is wanted of it, in any order."""

    def read(self, file: RemoteFile, start: int, stop: int) -> bytes | memoryview:
        """Exactly the bytes `[start, stop)`, which are few enough to be held in memory."""

    def copy(self, file: RemoteFile, start: int, stop: int, write: Write) -> None:
        """Hand the bytes `[start, stop)` to `write`, in parts, each with its offset; some maybe more than once, but the
        last time they are right."""

    def bring(self, file: RemoteFile) -> Path:
        """Bring a small file here, whole; returns where it lies, all links resolved."""

    def existing(self, file: RemoteFile) -> Path | None:
        """Where the file lies on this disk already, all links resolved."""

    def place(self, file: RemoteFile) -> Path:
        """Where to put it together: a path for its own use, on the disk that it is to stay on."""

    def keep(self, file: RemoteFile, path: Path) -> Path:
        """It lies complete and verified at `path`: publish it, and return where it lies now, all links resolved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Where the files of a checkpoint come from that are not here. `files` are all that the source listed, by path."""

    source: RemoteSource
    files: Mapping[str, RemoteFile] = field(repr=False)

    def reading(self, file: CheckpointFile) -> ReadAt:
        """Reads `file` from afar. For headers: whoever wants much of it should have it brought."""
        remote = self.files[file.path]
        return _Window(self.source, remote).read_at if file.format == "gguf" else self._ranges(remote)

    def _ranges(self, remote: RemoteFile) -> ReadAt:
        """Each read is a request."""

        def read_at(offset: int, n: int) -> bytes:
            stop = min(offset + n, remote.size)
            return read_range(self.source, remote, offset, stop) if offset < stop else b""

        return read_at


class _Window:
    """Many small reads of a file, one after the other, as few requests."""

    def __init__(self, source: RemoteSource, file: RemoteFile) -> None:
        self._source, self._file = source, file
        self._start, self._data = 0, b""

    def read_at(self, offset: int, n: int) -> bytes:
        stop = min(offset + n, self._file.size)
        if offset >= stop:
            return b""
        if not self._start <= offset or stop > self._start + len(self._data):
            end = min(max(stop, offset + _BLOCK), self._file.size)
            self._start, self._data = offset, read_range(self._source, self._file, offset, end)
        return self._data[offset - self._start : stop - self._start]


def read_range(source: RemoteSource, file: RemoteFile, start: int, stop: int) -> bytes:
    """`[start, stop)` of a file, and nothing less. Raises as `read_piece` does."""
    data = read_piece(source, file, start, stop)
    return data if isinstance(data, bytes) else data.tobytes()


def read_piece(source: RemoteSource, file: RemoteFile, start: int, stop: int) -> bytes | memoryview:
    """The same as its source has it in memory: millions of bytes are not copied on their way to the disk.

    Raises:
        SourceChanged: other bytes came than were asked for.
    """
    data = source.read(file, start, stop)
    if len(data) != stop - start:
        raise SourceChanged(
            f"{source.name} gave {len(data)} bytes of {file.path} where {stop - start} were asked for", hint="try again"
        )
    return data
