"""Whether this machine mounts EROFS that asks: found out by doing it, where nobody sees it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

from modelcar.errors import ModelcarError, StorageError
from modelcar.mounts.erofs.canary import answering, prove
from modelcar.mounts.erofs.fanotify import Group
from modelcar.mounts.erofs.front import asking_mount
from modelcar.mounts.erofs.image import block_size, metadata_image
from modelcar.mounts.plan import MountedFile, MountPlan
from modelcar.oci import Descriptor, Digest

__all__ = ["choose", "try_out"]

KernelMount = Literal["auto", "erofs", "fuse"]
_CONTENT: Final = b"modelcar".ljust(2 * 4096, b"\1")


def choose(wanted: KernelMount, *, plan: MountPlan, folder: Path) -> Literal["erofs", "fuse"]:
    """The front for a plan whose blobs lie in `folder`: what is wanted, or with `auto` the better of those that work.

    Raises `StorageError`, with the reason, if EROFS is wanted and does not work.
    """
    if wanted == "fuse":
        return "fuse"
    try:
        block_size(plan)
        try_out(folder)
    except ModelcarError as e:
        if wanted == "auto":
            return "fuse"
        raise StorageError(f"EROFS does not work here: {e}", hint="--kernel-mount fuse") from None
    return "erofs"


def try_out(folder: Path) -> None:
    """Mount a blob of two blocks that lies in `folder`, see that the kernel asks for it, and that it reads it right.

    Takes some milliseconds and leaves nothing behind. Raises `StorageError`.
    """
    digest = Digest.of(_CONTENT)
    blob = Descriptor(media_type="application/octet-stream", digest=digest, size=len(_CONTENT))
    file = MountedFile(path="canary", blob=0, offset=0, size=len(_CONTENT))
    plan = MountPlan(reference="canary", digest=digest, blobs=(blob,), files=(file,))
    try:
        data = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise StorageError(f"{folder}: {e.strerror}") from None
    try:
        group = Group.create()
        try:
            _try_out(group, plan, data)
        finally:
            group.close()
    finally:
        os.close(data)


def _try_out(group: Group, plan: MountPlan, data: int) -> None:
    os.ftruncate(data, len(_CONTENT))
    got: list[bytes] = []
    with asking_mount(group, metadata_image(plan), [data]) as mount:
        prove(group, mount, plan)
        os.pwrite(data, _CONTENT, 0)

        def read() -> None:
            descriptor = os.open("canary", os.O_RDONLY | os.O_CLOEXEC, dir_fd=mount)
            got.append(os.read(descriptor, len(_CONTENT)))
            os.close(descriptor)

        answering(group, read, 0)
    if got != [_CONTENT]:
        raise StorageError("the kernel shows other bytes than there are")
