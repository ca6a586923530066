"""The folders of a plan, as a file system wants them: nodes with names in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from modelcar.errors import InvalidDocument
from modelcar.mounts.plan import MountedFile, MountedLink, MountPlan

__all__ = ["Folder", "Node", "folders_of"]

_MAX_NAME = 255  # bytes


@dataclass(slots=True, kw_only=True)
class Folder:
    """`entries` by name; `parent` of the root is itself."""

    entries: dict[bytes, Node] = field(default_factory=dict)
    parent: Folder

    @classmethod
    def root(cls) -> Folder:
        folder = cls.__new__(cls)
        folder.entries, folder.parent = {}, folder
        return folder

    @property
    def folders(self) -> Iterator[Folder]:
        return (entry for entry in self.entries.values() if isinstance(entry, Folder))


Node = Folder | MountedFile | MountedLink


def folders_of(plan: MountPlan) -> Folder:
    """The root. Raises `InvalidDocument` for names that no file system has."""
    root = Folder.root()
    entries: list[MountedFile | MountedLink] = [*plan.files, *plan.links]
    for entry in entries:
        *parents, name = (part.encode(errors="surrogateescape") for part in entry.path.split("/"))
        if max(map(len, (*parents, name))) > _MAX_NAME:
            raise InvalidDocument(f"mount plan: a name in {entry.path!r} is longer than {_MAX_NAME} bytes")
        folder = root
        for parent in parents:
            below = folder.entries.get(parent)
            if not isinstance(below, Folder):
                below = folder.entries[parent] = Folder(parent=folder)
            folder = below
        folder.entries[name] = entry
    return root
