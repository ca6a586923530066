"""One file of a checkpoint, and what it is there for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from modelcar.files import FileStamp

__all__ = ["CheckpointFile", "Role"]


class Role(StrEnum):
    """What a file is there for. Decides layers and media types, never trust: scanners go by `CheckpointFile.format`."""

    WEIGHT = "weight"
    CONFIG = "config"
    TOKENIZER = "tokenizer"
    CARD = "card"
    LICENSE = "license"
    CODE = "code"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """A regular file that belongs to a checkpoint.

    Attributes:
        path: relative POSIX path inside the checkpoint, as found: neither normalised nor case-folded.
        source: absolute path of the regular file that holds the bytes, all links resolved.
        stamp: its state when the checkpoint was opened; reading it later goes through `modelcar.files.open_unchanged`.
        role: what it is there for.
        format: `"safetensors"`, `"gguf"`, `"pickle"`, …, by content where the content has a signature, by name
            otherwise; `None` for texts and whatever else has no format of its own.
        known_sha256: what the Hub says that the content hashes to. A key to look a digest up with, never a digest to
            believe: the file may have been changed since it was downloaded.
        awaited: whether the bytes are elsewhere still. Then `source` only says where, and of `stamp` only the size
            counts; `Checkpoint.remote` brings them.
        origin: what this very content is called where it came from, if that is elsewhere. Stands for the bytes while
            nobody has hashed them; no proof of anything.
    """

    path: str
    source: Path
    stamp: FileStamp
    role: Role
    format: str | None
    known_sha256: str | None = None
    awaited: bool = False
    origin: str | None = field(default=None, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Bytes, when the checkpoint was opened."""
        return self.stamp.size

    @property
    def name(self) -> str:
        """The last part of `path`."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """`path` without its last part; empty at the top."""
        return self.path.rpartition("/")[0]
