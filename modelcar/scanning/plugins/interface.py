"""What another scanner has to offer, and what it gets to see of a file."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from modelcar.scanning.content import Content
from modelcar.scanning.findings import Severity

__all__ = ["FileUnderScan", "Isolation", "PluginFinding", "ScannerFailed", "ScannerPlugin"]


class ScannerFailed(Exception):
    """A scanner could not look at a file, or not at all of it. `str(e)` says why, in a few words."""


class Isolation(StrEnum):
    """How far a scanner is kept from everything else.

    `SEALED`: in a process of its own with bounds on time and memory, without a network where the kernel lets us take
    it away. `CONNECTED`: the same with the network. `NONE`: in this process, for what parses nothing itself but hands
    the bytes on to another program, and keeps to `FileUnderScan.seconds_left`; it may be called by several threads.
    """

    SEALED = "sealed"
    CONNECTED = "connected"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginFinding:
    """Something that a scanner has to say.

    Attributes:
        severity: `NOTE` changes no verdict.
        title: what it found, a few words; its own name for it, if it has one.
        detail: where or in what; may be empty.
        offset: bytes from the start of the file, or of `member`.
        member: the file inside the file, where it unpacked an archive.
    """

    severity: Severity
    title: str
    detail: str = ""
    offset: int | None = None
    member: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUnderScan:
    """One file of a checkpoint or image.

    Attributes:
        path: its path in the checkpoint.
        content: its bytes.
        formats: what modelcar's own parsers take it for, by its content and its name; empty if they do not know it.
        source: where exactly these bytes lie on disk already.
        spool: the folder for a copy of what does not.
        deadline: of `time.monotonic()`, by which the scanner must be done.
    """

    path: str
    content: Content
    formats: tuple[str, ...] = ()
    source: Path | None = None
    spool: Path | None = None
    deadline: float = math.inf

    @property
    def name(self) -> str:
        """The last part of `path`; `file` where no file can be called that."""
        name = self.path.rpartition("/")[2]
        return "file" if name in ("", ".", "..") or "\0" in name else name

    @property
    def size(self) -> int:
        return self.content.size

    def open(self) -> BinaryIO:
        """Its bytes, to read and to seek in; nothing is copied."""
        return self.content.stream()

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """A path to these bytes whose last part is `name`: the file itself or a link to it, else a copy."""
        if self.source is not None and self.source.name == self.name:
            yield self.source
            return
        with tempfile.TemporaryDirectory(prefix="modelcar-scan-", dir=self.spool) as folder:
            path = Path(folder) / self.name
            if self.source is not None:
                path.symlink_to(self.source)
            else:
                self._copy(path)
            yield path

    def seconds_left(self) -> float:
        """Until the deadline.

        Raises:
            ScannerFailed: it is over.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise ScannerFailed("it took too long")
        return left

    def pieces(self, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """A range of its bytes, at most 1 MiB at a time.

        Raises:
            ScannerFailed: the time is over, or the file has become shorter.
        """
        missing = self.size - offset if size is None else size
        for piece in self.content.pieces(offset, size):
            self.seconds_left()
            missing -= len(piece)
            yield piece
        if missing > 0:
            raise ScannerFailed("the file ends earlier than a moment ago")

    def _copy(self, path: Path) -> None:
        with path.open("xb") as file:
            for piece in self.pieces():
                file.write(piece)


@runtime_checkable
class ScannerPlugin(Protocol):
    """Another scanner. Subclass it: all but `name`, `version` and `scan` has a default.

    Attributes:
        name: what its entry point is called.
        isolation: where it runs.
    """

    name: str
    isolation: Isolation = Isolation.SEALED

    def version(self) -> str:
        """Of the scanner itself and its database; asked once for many files, and not where `scan` runs."""
        ...

    def wants(self, file: FileUnderScan) -> bool:
        """Whether it has anything to say of such a file, by its path, size and formats alone.

        Only of what cannot hold what it looks for may it say no: a file that it should look at and cannot is a failure
        for `scan` to report.
        """
        del file
        return True

    def scan(self, file: FileUnderScan) -> Iterable[PluginFinding]:
        """What it finds in `file`. Nothing found and no exception means: it has looked at all of it.

        Raises:
            ScannerFailed: it has not. Any other exception means the same. What was found before that counts.
        """
        ...
