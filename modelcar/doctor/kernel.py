"""What the kernel lets us mount with: found out by doing it, where nobody sees it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from modelcar.doctor.finding import Finding, note, ok
from modelcar.errors import ModelcarError
from modelcar.mounts.erofs.fanotify import Group
from modelcar.mounts.erofs.support import try_out

__all__ = ["look_at_kernel"]

_FUSE: Final = Path("/dev/fuse")
_FUSERMOUNT: Final = "fusermount3"
_NAMESPACES: Final = {
    Path("/proc/sys/user/max_user_namespaces"): "0",
    Path("/proc/sys/kernel/unprivileged_userns_clone"): "0",
    Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"): "1",
}


def look_at_kernel(folder: Path) -> Iterator[Finding]:
    """What `modelcar mount` can do; blobs that it mounts would lie in `folder`."""
    yield ok("kernel", f"{platform.system()} {platform.release()}")
    yield _fuse()
    yield _asking()
    yield _erofs(folder)
    yield _user_namespaces()


def _fuse() -> Finding:
    try:
        os.close(os.open(_FUSE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as e:
        hint = "load the kernel module `fuse`; a container needs the device /dev/fuse"
        return note("FUSE", f"{_FUSE}: {e.strerror}; `modelcar mount` needs FUSE or EROFS", hint)
    if os.geteuid() != 0 and shutil.which(_FUSERMOUNT) is None:
        return note("FUSE", f"{_FUSERMOUNT} is not installed, and only root mounts without it", "install fuse3")
    return ok("FUSE", f"{_FUSE} opens")


def _asking() -> Finding:
    subject = "pre-content events"
    try:
        Group.create().close()
    except ModelcarError as e:
        return note(subject, str(e), "Linux 6.14 and root; without them models are mounted with FUSE")
    return ok(subject, "the kernel asks before it reads a file")


def _erofs(folder: Path) -> Finding:
    subject = "EROFS"
    at = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
    try:
        try_out(at)
    except ModelcarError as e:
        return note(subject, f"models are mounted with FUSE instead: {e}", "docs/how-to/mount.md says what EROFS needs")
    except OSError as e:
        return note(subject, f"models are mounted with FUSE instead: {e.strerror}")
    return ok(subject, f"the kernel serves models itself from {at}")


def _user_namespaces() -> Finding:
    subject = "user namespaces"
    for path, off in _NAMESPACES.items():
        try:
            value = path.read_text().strip()
        except OSError:
            continue
        if value == off:
            return note(subject, f"{path} is {value}: rootless podman does not work", f"sysctl, as root, at {path}")
    return ok(subject, "users may have their own")
