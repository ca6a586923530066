"""Ways in which a file changes under whoever reads it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

__all__ = [
    "CHANGES",
    "dangle",
    "loop",
    "make_folder",
    "make_pipe",
    "replace_by_copy",
    "rewrite",
    "rewrite_and_restore_time",
    "touch",
]


def touch(path: Path) -> None:
    st = path.stat()
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns + 1))


def rewrite(path: Path) -> None:
    path.write_bytes(b"y" * 1000)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def rewrite_and_restore_time(path: Path) -> None:
    before = path.stat().st_mtime_ns
    path.write_bytes(b"y" * 1000)
    os.utime(path, ns=(before, before))
    # The change time is the kernel's; within one clock tick it may not have moved yet.
    while path.stat().st_ctime_ns == before:
        os.utime(path, ns=(before, before))


def replace_by_copy(path: Path) -> None:
    st = path.stat()
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(st.st_atime_ns, st.st_mtime_ns))
    copy.rename(path)


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


CHANGES: list[Callable[[Path], object]] = [
    *(
        Path.unlink,
        touch,
        rewrite,
        rewrite_and_restore_time,
        replace_by_copy,
        make_pipe,
        make_folder,
        dangle,
        loop,
    ),
    lambda path: os.truncate(path, 999),
    lambda path: os.truncate(path, 1001),
    lambda path: path.rename(path.with_name("elsewhere")),
    lambda path: path.chmod(0o600),
]
