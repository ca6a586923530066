"""What the library tells of long work, for people."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from modelcar.cli.output import Output
from modelcar.cli.progress import progress
from modelcar.images.watching import NO_LABELS
from modelcar.oci import Digest
from modelcar.progress import Progress

__all__ = ["OutputWatcher"]


class OutputWatcher:
    """`modelcar.images.watching.Watcher`: phases as progress, notes aside."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def phase(self, name: str, labels: Mapping[Digest, str] = NO_LABELS) -> AbstractContextManager[Progress]:
        return progress(self._output, name, labels)

    def note(self, text: str) -> None:
        self._output.aside(f"note: {text}")
