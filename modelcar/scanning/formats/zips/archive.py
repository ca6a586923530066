"""A zip as those see it who know a kind of file that is one: PyTorch's, Keras's, NumPy's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from modelcar.scanning.content import Content
from modelcar.scanning.filescan import FileScan
from modelcar.scanning.formats.zips.directory import Entry
from modelcar.scanning.formats.zips.members import opened

__all__ = ["Archive"]


class Archive:
    """Its members, none of them scanned yet.

    Attributes:
        known: names of members whose place in this kind of file says what they are, such as the numbers of a tensor;
            for each, whether a content is just that. What is not is scanned as any other member is.
    """

    def __init__(self, scan: FileScan, entries: Sequence[Entry]) -> None:
        self.scan = scan
        self.entries = entries
        self.known: dict[str, Callable[[Content], bool]] = {}

    def names(self) -> Iterator[str]:
        """All that any program may call a member, folders left out."""
        for entry in self.entries:
            if not entry.is_folder:
                for view in entry.views:
                    yield from view.names

    @contextmanager
    def open(self, entry: Entry) -> Iterator[Content]:
        """The data of a member as the directory describes it."""
        with opened(self.scan, entry, entry.views[0]) as content:
            yield content
