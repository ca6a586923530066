"""An EROFS mount by file descriptors: any number of blobs, invisible until it is attached, with the kernel's words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelcar.errors import StorageError
from modelcar.mounts import libc

__all__ = ["attach", "has_gone", "mount_detached", "raise_read_ahead", "read_aheads"]

# The same numbers on every architecture that Linux has had since 5.2.
_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 429, 430, 431, 432
_CLOEXEC: Final = 1  # FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
_SET_STRING, _CREATE = 1, 6  # FSCONFIG_*
_ATTRIBUTES: Final = 1 | 2 | 4 | 8  # MOUNT_ATTR_RDONLY, NOSUID, NODEV, NOEXEC
_MOVE_EMPTY_PATH: Final = 4  # MOVE_MOUNT_F_EMPTY_PATH
_AT_FDCWD: Final = -100
_BDIS: Final = Path("/sys/class/bdi")


def mount_detached(image: int, devices: Sequence[int]) -> int:
    """The file system of a metadata image and its blobs, by open files, as a mount that is nowhere yet.

    The kernel opens each file anew: what is to be asked before it is read must be marked by now.

    Raises `StorageError` with the kernel's reason.
    """
    context = _call("fsopen", _FSOPEN, b"erofs", _CLOEXEC)
    try:
        _set(context, b"source", image)
        for device in devices:
            _set(context, b"device", device)
        _call("fsconfig", _FSCONFIG, context, _CREATE, None, None, 0, context=context)
        return _call("fsmount", _FSMOUNT, context, _CLOEXEC, _ATTRIBUTES, context=context)
    finally:
        os.close(context)


def attach(mount: int, target: Path) -> None:
    """Show a detached mount at a folder. Raises `StorageError`."""
    _call("move_mount", _MOVE_MOUNT, mount, b"", _AT_FDCWD, os.fsencode(target), _MOVE_EMPTY_PATH)


def raise_read_ahead(known: frozenset[str], kib: int) -> None:
    """Let the mounts that came since `read_aheads` read further ahead; theirs is 128 KiB, a fault's worth each."""
    for name in read_aheads() - known:
        with suppress(OSError):
            (_BDIS / name / "read_ahead_kb").write_text(f"{kib}\n")


def read_aheads() -> frozenset[str]:
    """The names under which the kernel knows the EROFS mounts of this machine."""
    with suppress(OSError):
        return frozenset(path.name for path in _BDIS.glob("erofs-*"))
    return frozenset()


def has_gone(names: frozenset[str]) -> bool:
    """Whether the kernel knows none of these mounts any more. In doubt, as without /sys, it does."""
    return bool(names) and _BDIS.is_dir() and not any((_BDIS / name).exists() for name in names)


def _set(context: int, key: bytes, file: int) -> None:
    _call("fsconfig", _FSCONFIG, context, _SET_STRING, key, b"/proc/self/fd/%d" % file, 0, context=context)


def _call(name: str, number: int, *arguments: int | bytes | None, context: int | None = None) -> int:
    try:
        return libc.syscall(number, *arguments)
    except OSError as e:
        reasons = "; ".join([str(e.strerror), *_words(context)])
        raise StorageError(f"the kernel does not mount EROFS: {name}: {reasons}") from None


def _words(context: int | None) -> list[str]:
    """What the kernel logged into the context, "e erofs: …" for an error."""
    words: list[str] = []
    if context is not None:
        with suppress(OSError):
            while word := os.read(context, 8192):
                words.append(word.decode(errors="replace").strip().removeprefix("e "))
    return words
