"""Who is told what long work does. The library tells; the command line draws and prints."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Final, Protocol

from modelcar.oci import Digest
from modelcar.progress import SILENT, Progress

__all__ = ["NO_LABELS", "UNWATCHED", "Watched", "Watcher"]

NO_LABELS: Final[Mapping[Digest, str]] = MappingProxyType({})


class Watcher(Protocol):
    """Looks on."""

    def phase(self, name: str, labels: Mapping[Digest, str] = NO_LABELS) -> AbstractContextManager[Progress]:
        """A step of the work, told of until the block ends. `name` is a verb ("hash", "push"); `labels` says how to
        call blobs, and may be filled while the step goes on."""

    def note(self, text: str) -> None:
        """Something that a person may want to know, in one line."""


class Watched:
    """Hands everything to one `Progress`; notes go nowhere."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def phase(self, name: str, labels: Mapping[Digest, str] = NO_LABELS) -> AbstractContextManager[Progress]:  # noqa: ARG002  # all phases go to the one
        return nullcontext(self._progress)

    def note(self, text: str) -> None:
        pass


UNWATCHED: Final[Watcher] = Watched(SILENT)
