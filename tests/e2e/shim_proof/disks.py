"""Disks and clocks of a test's own, and what happens to them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.e2e.support.commands import run
from tests.support.skips import unavailable

__all__ = ["ext4", "files_with_content", "flip", "other_boot", "set_clock", "truncate"]

_BOOT: Final = "/proc/sys/kernel/random/boot_id"


@contextmanager
def ext4(image: Path, folder: Path, size: int) -> Iterator[Path]:
    """A disk of `size` bytes at `folder`, whose file is `image`."""
    with image.open("wb") as file:
        file.truncate(size)
    folder.mkdir(parents=True, exist_ok=True)
    run("mkfs.ext4", "-q", "-m", "0", image)
    if run("mount", "-o", "loop", image, folder, check=False).returncode != 0:
        unavailable("cannot mount a loop device")
    try:
        yield folder
    finally:
        run("umount", "--lazy", folder, check=False)


def files_with_content(root: Path, least: int = 4096) -> list[Path]:
    """Where blobs are, whole or on their way; the larger ones first."""
    places = [path for name in ("blobs", "partial", "ingest") for path in (root / name).rglob("*") if path.is_file()]
    return sorted((p for p in places if p.stat().st_size >= least), key=lambda p: -p.stat().st_size)


def flip(file: Path, source: random.Random, times: int = 3) -> None:
    """Other bits at some places, with the times of the file as they were: disks do not tell."""
    stat = file.stat()
    mode = stat.st_mode
    file.chmod(0o600)
    with file.open("r+b") as content:
        for _ in range(times):
            at = source.randrange(stat.st_size)
            content.seek(at)
            old = content.read(1)
            content.seek(at)
            content.write(bytes([(old[0] if old else 0) ^ 0x40]))
    file.chmod(mode)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def truncate(file: Path, size: int) -> None:
    mode = file.stat().st_mode
    file.chmod(0o600)
    with file.open("r+b") as content:
        content.truncate(size)
    file.chmod(mode)


def other_boot(folder: Path, number: int) -> tuple[str, ...]:
    """A wrapper in which the machine seems to have been started another time."""
    identity = folder / f"boot-{number}"
    identity.write_text(f"00000000-0000-4000-8000-{number:012}\n")
    script = f'mount --bind {identity} {_BOOT} && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, "sh")


def set_clock(file: Path, days: float) -> None:
    """What programs under `faketime` with FAKETIME_TIMESTAMP_FILE believe the time to be, from now on."""
    new = file.with_name(f".{file.name}")
    new.write_text(f"{days * 86400:+.0f}\n")
    new.replace(file)
