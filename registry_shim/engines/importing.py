"""A whole image into containerd's content store: containerd pulls it from the shim, as for a pod.

What both have on one file system need not be there twice. A blob that lies in containerd's folder under its digest, but
in none of its records, is taken as it is when an image wants it, and collected as garbage otherwise. So the shim's own
files are put there first, as clones or links, and the pull moves nothing but manifests.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.oci import Digest
from modelcar.store.disk import explain, fsync_dir
from registry_shim.engines.cri import Cri
from registry_shim.engines.settings import ImportSettings

__all__ = ["Imported", "Importer"]

_FICLONE: Final = 0x40049409
_CANNOT: Final = frozenset(
    {
        errno.EEXIST,
        errno.EXDEV,
        errno.EINVAL,
        errno.EOPNOTSUPP,
        errno.ENOTTY,
        errno.EPERM,
        errno.EMLINK,
        errno.EISDIR,  # no O_TMPFILE there
    }
)
_OTHERS_MAY_WRITE: Final = 0o022
_READ_ONLY: Final = 0o444


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """`shared` bytes lie on the disk once for the shim and containerd."""

    reference: str
    shared: int


class Importer:
    """Hands images to the engine of this node. Its methods block."""

    def __init__(self, settings: ImportSettings) -> None:
        self._settings = settings
        self._cri = Cri(settings.socket)

    def import_image(self, reference: str, *, blobs: Mapping[Digest, Path] | None = None) -> Imported:
        """Make `reference` (as pods write it) ready in the engine; `blobs` are verified files of the shim's store.

        Importing again what is there is cheap, and is how an image that the kubelet collected comes back.

        Raises:
            WorldError: the engine cannot be reached, or cannot pull.
            StorageError: its content store cannot be written to.
        """
        shared = 0
        if blobs and self._settings.content is not None:
            shared = _share(self._settings.content / "blobs", blobs)
        answer = self._cri.pull(reference, seconds=self._settings.seconds)
        answer.require(f"{self._settings.socket} cannot import {reference}")
        return Imported(reference=reference, shared=shared)


def _share(store: Path, blobs: Mapping[Digest, Path]) -> int:
    """Put files into a content store, as far as that takes no copy; returns how many bytes are shared."""
    if not store.is_dir():
        return 0
    shared = 0
    touched = set()
    try:
        for digest, source in blobs.items():
            folder = store / digest.algorithm
            folder.mkdir(mode=0o755, exist_ok=True)
            if _place(source, folder / digest.hex):
                shared += source.stat().st_size
                touched.add(folder)
        for folder in touched:  # containerd's records must not outlive the names
            fsync_dir(folder)
    except OSError as e:
        raise explain(e, f"cannot write to {store}") from None
    return shared


def _place(source: Path, target: Path) -> bool:
    """Whether `target` is now, or was before, the same bytes on the disk as `source`."""
    try:
        file = source.open("rb")
    except FileNotFoundError:  # evicted, or of another platform: the engine asks for it if it wants it
        return False
    with file:
        status = os.fstat(file.fileno())
        if target.exists():
            return target.stat().st_ino == status.st_ino
        # A link has one owner and mode for both: only what nobody but root can write to may be in both stores.
        linkable = status.st_uid == 0 and not status.st_mode & _OTHERS_MAY_WRITE
        return _try(_clone, file.fileno(), target) or (linkable and _try(_link, file.fileno(), target))


def _clone(source: int, target: Path) -> None:
    """A reflink, which shows under its name only once it is whole."""
    fd = os.open(target.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, _READ_ONLY)
    try:
        fcntl.ioctl(fd, _FICLONE, source)
        os.fsync(fd)
        _link(fd, target)
    finally:
        os.close(fd)


def _link(fd: int, target: Path) -> None:
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:  # only with a folder is this linkat, which follows the link in /proc
        os.link(f"/proc/self/fd/{fd}", target.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _try(share: Callable[[int, Path], None], source: int, target: Path) -> bool:
    """Whether these file systems can, and nobody was faster."""
    try:
        share(source, target)
    except OSError as e:
        if e.errno not in _CANNOT:
            raise
        return False
    return True
