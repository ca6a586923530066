"""What the disk says is here, and how much of it that takes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelcar.errors import InvalidDigest
from modelcar.oci import Digest
from modelcar.store.disk import explain
from registry_shim.space.evict import Stored
from registry_shim.space.uses import Uses

__all__ = ["linked", "look_up", "scan", "taken"]

_BLOCK: Final = 512  # what st_blocks counts in, on every Linux file system


def scan(root: Path, uses: Uses) -> dict[Digest, Stored]:
    """Blobs and parts of blobs under `root`. Raises `StorageError`."""
    try:
        here = [*_entries(root / "blobs"), *_entries(root / "partial")]
    except OSError as e:
        raise explain(e, f"cannot read {root}") from None
    return look_up(root, uses, dict.fromkeys(here))


def look_up(root: Path, uses: Uses, digests: Iterable[Digest]) -> dict[Digest, Stored]:
    """What is here of some blobs. Raises `StorageError`."""
    found = {}
    try:
        for digest in digests:
            stored = _stored(root, uses, digest)
            if stored is not None:
                found[digest] = stored
    except OSError as e:
        raise explain(e, f"cannot read {root}") from None
    return found


def _stored(root: Path, uses: Uses, digest: Digest) -> Stored | None:
    name = f"{digest.algorithm}/{digest.hex}"
    size, written = _folder(f"{root}/partial/{name}")
    try:
        whole = os.stat(f"{root}/blobs/{name}")  # noqa: PTH116  # thousands of them: paths take longer than the look
    except FileNotFoundError:
        whole = None
    if whole is None and not written:
        return None
    return Stored(
        digest=digest,
        size=size + (whole.st_blocks * _BLOCK if whole else 0),
        used=max(uses.of(digest), whole.st_mtime if whole else written),
        partial=whole is None,
    )


def taken(root: Path) -> int:
    """Bytes on disk under `root`'s content, pushes that run included. Raises `StorageError`."""
    try:
        return sum(_folder(f"{root}/{name}")[0] for name in ("blobs", "partial", "ingest"))
    except OSError as e:
        raise explain(e, f"cannot read {root}") from None


def linked(repositories: Path) -> set[Digest]:
    """Blobs and manifests that repositories name: what was pushed here, and is nowhere else perhaps. Raises
    `StorageError`."""
    found: set[Digest] = set()
    waiting = [repositories]
    try:
        while waiting:
            folder = waiting.pop()
            for name in _names(folder):
                if name in ("_blobs", "_manifests"):
                    found |= set(_entries(folder / name))
                elif not name.startswith(("_", ".")):
                    waiting.append(folder / name)
    except OSError as e:
        raise explain(e, f"cannot read {repositories}") from None
    return found


def _entries(folder: Path) -> Iterator[Digest]:
    for algorithm in _names(folder):
        for name in _names(folder / algorithm):
            with suppress(InvalidDigest):
                yield Digest(algorithm, name)


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _folder(folder: str) -> tuple[int, float]:
    """Bytes on disk of all files below, and when the last of them was written; 0 if there are none."""
    size, written = 0, 0.0
    waiting = [folder]
    while waiting:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # files come and go while we look
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        st = entry.stat(follow_symlinks=False)
                        size, written = size + st.st_blocks * _BLOCK, max(written, st.st_mtime)
    return size, written
