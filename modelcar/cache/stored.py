"""What the disk says is here of blobs, how much of it that takes, and how much there is left."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.errors import InvalidDigest
from modelcar.oci import Digest
from modelcar.store.disk import explain

__all__ = ["Stored", "digests_in", "look_up", "names_in", "oldest_first", "scan", "taken"]

_BLOCK: Final = 512  # what st_blocks counts in, on every Linux file system

Uses = Callable[[Digest], float]
"""When a blob was last used, in seconds since the epoch, as far as is known beside the times of its files; or 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is here of one blob or manifest: bytes on disk, and seconds since the epoch when it was last used."""

    digest: Digest
    size: int
    used: float
    partial: bool = False
    """Not all of it."""


def oldest_first(stored: Iterable[Stored]) -> list[Stored]:
    """What was not used for longest comes first; of equals always the same."""
    return sorted(stored, key=lambda each: (each.used, str(each.digest)))


def scan(root: Path, uses: Uses = lambda _: 0.0) -> dict[Digest, Stored]:
    """Blobs and parts of blobs under `root`. Raises `StorageError`."""
    try:
        here = [*digests_in(root / "blobs"), *digests_in(root / "partial")]
    except OSError as e:
        raise explain(e, f"cannot read {e.filename or root}") from None
    return look_up(root, dict.fromkeys(here), uses)


def look_up(root: Path, digests: Iterable[Digest], uses: Uses = lambda _: 0.0) -> dict[Digest, Stored]:
    """What is here of some blobs. Raises `StorageError`."""
    found = {}
    try:
        for digest in digests:
            stored = _stored(root, digest, uses)
            if stored is not None:
                found[digest] = stored
    except OSError as e:
        raise explain(e, f"cannot read {e.filename or root}") from None
    return found


def _stored(root: Path, digest: Digest, uses: Uses) -> Stored | None:
    name = f"{digest.algorithm}/{digest.hex}"
    size, written = _folder(f"{root}/partial/{name}")
    whole = None
    with _IfThere():
        whole = os.stat(f"{root}/blobs/{name}")  # noqa: PTH116  # thousands of them: paths take longer than the look
    if whole is None and not written:
        return None
    return Stored(
        digest=digest,
        size=size + (whole.st_blocks * _BLOCK if whole else 0),
        used=max(uses(digest), whole.st_mtime if whole else written),
        partial=whole is None,
    )


def taken(root: Path) -> int:
    """Bytes on disk under `root`'s content, pushes that run included. Raises `StorageError`."""
    try:
        return sum(_folder(f"{root}/{name}")[0] for name in ("blobs", "partial", "ingest"))
    except OSError as e:
        raise explain(e, f"cannot read {e.filename or root}") from None


def digests_in(folder: Path) -> Iterator[Digest]:
    """Those that `FOLDER/ALGORITHM/HEX` names. Raises `OSError`."""
    for algorithm in names_in(folder):
        for name in names_in(folder / algorithm):
            with suppress(InvalidDigest):
                yield Digest(algorithm, name)


def names_in(folder: Path) -> list[str]:
    """Of what is in a folder; none if it is none. Raises `OSError`."""
    with _IfThere():
        return [entry.name for entry in os.scandir(folder)]
    return []


class _IfThere:
    """Nothing, if what is looked at is not there: links that lead nowhere, or to themselves, are nothing either."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> bool:
        return isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def _folder(folder: str) -> tuple[int, float]:
    """Bytes on disk of all files below, and when the last of them was written; 0 if there are none."""
    size, written = 0, 0.0
    waiting = [folder]
    while waiting:
        with _IfThere(), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # files come and go while we look
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        st = entry.stat(follow_symlinks=False)
                        size, written = size + st.st_blocks * _BLOCK, max(written, st.st_mtime)
    return size, written
