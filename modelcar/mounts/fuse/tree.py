"""A plan as the kernel walks it: numbered nodes. Pure; the same plan gives the same numbers, in every process."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

from modelcar.mounts.fuse.wire import ROOT, Attributes
from modelcar.mounts.plan import MountedFile, MountPlan

__all__ = ["Node", "Tree"]

_FOLDER = stat.S_IFDIR | 0o755
_FILE = stat.S_IFREG | 0o644
_LINK = stat.S_IFLNK | 0o777


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One file, link or folder.

    Attributes:
        file: where the bytes of a file lie.
        target: what a link says.
        names: of a folder, with "." and ".." first, in the order in which they are listed.
    """

    attributes: Attributes
    file: MountedFile | None = None
    target: bytes = b""
    names: Mapping[bytes, int] = field(default_factory=dict)


class Tree:
    """The nodes of a plan, owned by one user."""

    def __init__(self, plan: MountPlan, *, uid: int = 0, gid: int = 0) -> None:
        self.size = plan.size
        self._owner = (uid, gid)
        self._numbers = count(ROOT + 1)
        self._nodes: dict[int, Node] = {}
        self._names: dict[int, dict[bytes, int]] = {ROOT: {b".": ROOT, b"..": ROOT}}
        self._folders: dict[tuple[str, ...], int] = {(): ROOT}
        for file in plan.files:
            number = self._place(file.path)
            self._nodes[number] = Node(attributes=self._attributes(number, _FILE, size=file.size), file=file)
        for link in plan.links:
            number, target = self._place(link.path), _bytes(link.target)
            self._nodes[number] = Node(attributes=self._attributes(number, _LINK, size=len(target)), target=target)
        for number, names in self._names.items():
            below = sum(child in self._names for name, child in names.items() if name not in (b".", b".."))
            attributes = self._attributes(number, _FOLDER, size=4096, links=2 + below)
            self._nodes[number] = Node(attributes=attributes, names=names)

    def __len__(self) -> int:
        return len(self._nodes)

    def __getitem__(self, number: int) -> Node:
        return self._nodes[number]

    def get(self, number: int) -> Node | None:
        return self._nodes.get(number)

    def files_in(self, blob: int) -> list[int]:
        """The numbers of the files that lie in a blob."""
        return [number for number, node in self._nodes.items() if node.file is not None and node.file.blob == blob]

    def _place(self, path: str) -> int:
        """The number of what lies at a path, now a name in its folder."""
        *folders, name = path.split("/")
        parent = self._folder(tuple(folders))
        number = self._names[parent][_bytes(name)] = next(self._numbers)
        return number

    def _folder(self, parts: tuple[str, ...]) -> int:
        if (known := self._folders.get(parts)) is not None:
            return known
        parent = self._folder(parts[:-1])
        number = self._folders[parts] = self._names[parent][_bytes(parts[-1])] = next(self._numbers)
        self._names[number] = {b".": number, b"..": parent}
        return number

    def _attributes(self, number: int, mode: int, *, size: int, links: int = 1) -> Attributes:
        uid, gid = self._owner
        return Attributes(node=number, mode=mode, size=size, links=links, uid=uid, gid=gid)


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
