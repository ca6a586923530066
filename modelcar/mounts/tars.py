"""The files of an image without an index: its layers applied one after the other, as an engine would."""

from __future__ import annotations

import posixpath
import tarfile
from dataclasses import dataclass
from typing import BinaryIO, Final

from modelcar.errors import InvalidContent
from modelcar.mounts.plan import MountedLink
from modelcar.oci import Descriptor
from modelcar.packaging.unpack import TAR_ERRORS

__all__ = ["TarFile", "Tree"]

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_MOST: Final = 1_000_000  # members


@dataclass(frozen=True, slots=True, kw_only=True)
class TarFile:
    """A file whose bytes are `[offset, offset + size)` of a layer."""

    path: str
    layer: Descriptor
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class _Link:
    target: str


_Entries = dict[str, TarFile | _Link]
"""By path in the image; folders are left out."""


class Tree:
    """What lies below one folder of an image, as far as its layers were applied."""

    def __init__(self, root: str) -> None:
        """`root` is relative to the image's."""
        self._root = root
        self._entries: _Entries = {}
        self._folders: set[str] = set()  # that have ever held something

    def files(self) -> tuple[TarFile, ...]:
        """Sorted by their paths, which are relative to the folder."""
        return tuple(
            TarFile(path=path, layer=e.layer, offset=e.offset, size=e.size)
            for path, e in self._below()
            if isinstance(e, TarFile)
        )

    def links(self) -> tuple[MountedLink, ...]:
        """Raises `InvalidContent` for one that leads out of the folder."""
        return tuple(
            MountedLink(path=path, target=self._target(path, e.target))
            for path, e in self._below()
            if isinstance(e, _Link)
        )

    def apply(self, layer: Descriptor, tar: BinaryIO) -> None:
        """Add what a layer brings, and take away what it hides of those before it.

        Raises:
            InvalidContent: it is no tar, or holds something under the folder that a model must not.
        """
        before = dict(self._entries)
        brought: _Entries = {}
        try:
            with tarfile.open(fileobj=tar, mode="r:") as members:
                for number, member in enumerate(members):
                    if number == _MOST:
                        raise InvalidContent(f"layer {layer.digest} has more than {_MOST} members")
                    self._take(layer, member, before, brought)
        except TAR_ERRORS as e:
            raise InvalidContent(f"layer {layer.digest} is not a readable tar: {e}") from None
        self._entries = before | brought

    def _take(
        self,
        layer: Descriptor,
        member: tarfile.TarInfo,
        before: _Entries,
        brought: _Entries,
    ) -> None:
        path = _path(member.name)
        folder, _, name = path.rpartition("/")
        if name == _OPAQUE:
            self._remove(before, folder)
        elif name.startswith(_WHITEOUT):
            self._remove(before, posixpath.join(folder, name.removeprefix(_WHITEOUT)))
        elif not path or not self._is_ours(path):
            return
        elif member.isdir():
            before.pop(path, None)
            brought.pop(path, None)
        else:
            for parent in _parents(path):
                before.pop(parent, None)
                brought.pop(parent, None)
            self._remove(before, path)
            self._remove(brought, path)
            self._folders.update(_parents(path))
            brought[path] = self._entry(layer, member, path, before, brought)

    def _entry(
        self, layer: Descriptor, member: tarfile.TarInfo, path: str, before: _Entries, brought: _Entries
    ) -> TarFile | _Link:
        if member.issym():
            return _Link(member.linkname)
        if member.islnk():
            linked = _path(member.linkname)
            target = brought.get(linked) or before.get(linked)
            if isinstance(target, TarFile):
                return TarFile(path=path, layer=target.layer, offset=target.offset, size=target.size)
            raise InvalidContent(
                f"{path} in layer {layer.digest} is a hard link to {member.linkname}, which is no file"
            )
        if not member.isreg() or member.issparse():
            raise InvalidContent(f"{path} in layer {layer.digest} is neither a plain file nor a link")
        if member.offset_data + member.size > layer.size:
            raise InvalidContent(f"layer {layer.digest} ends within {path}")
        return TarFile(path=path, layer=layer, offset=member.offset_data, size=member.size)

    def _remove(self, entries: _Entries, path: str) -> None:
        """A file, or all that lies in a folder (everything, if it is the image's root)."""
        entries.pop(path, None)
        if path and path not in self._folders:
            return
        prefix = f"{path}/" if path else ""
        for inner in [other for other in entries if other.startswith(prefix)]:
            del entries[inner]

    def _is_ours(self, path: str) -> bool:
        return path.startswith(f"{self._root}/")

    def _below(self) -> list[tuple[str, TarFile | _Link]]:
        skip = len(self._root) + 1
        return sorted((path[skip:], entry) for path, entry in self._entries.items() if self._is_ours(path))

    def _target(self, path: str, target: str) -> str:
        """A link's target, relative to where it lies now that the folder is elsewhere."""
        here = posixpath.dirname(path)
        prefix = f"/{self._root}/"
        within = target.removeprefix(prefix) if target.startswith(prefix) else posixpath.join(here, target)
        within = posixpath.normpath(within)
        if within.startswith(("/", "../")) or within == "..":
            raise InvalidContent(f"{path} in the image is a link to {target}, which lies outside of the model")
        return posixpath.relpath(within, here or ".")


def _path(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidContent(f"{name!r} in the image climbs out of its folder")
    return "/".join(parts)


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]
