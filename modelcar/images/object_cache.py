"""What was brought from object stores into the cache, which several local stores may share, and how it goes again.

Beside the objects, `.homes/<id>/` says what one local store has brought or used: a file `home` with its place, and an
empty file `<scheme>~<bucket>~<name>` for each object. The file `.homes/lock` is locked shared by whoever brings
objects, and exclusively by whoever removes some.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.checkpoint import Checkpoint
from modelcar.checkpoint.objects.source import ObjectSource, cache_folder
from modelcar.errors import StorageError
from modelcar.layers.segments import file_under
from modelcar.oci import Digest
from modelcar.store import LocalStore
from modelcar.store.disk import explain, lock

__all__ = ["Swept", "bringing", "has_brought", "sweep_objects"]

_HOMES: Final = ".homes"
_UNFINISHED: Final = ".incomplete"
_DEPTH: Final = 3  # scheme, bucket, name


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was removed: objects, and the disk space in bytes that this freed."""

    files: int = 0
    freed: int = 0


@contextmanager
def bringing(checkpoint: Checkpoint, home: Path) -> Iterator[None]:
    """Note that the store at `home` uses the objects of `checkpoint`, and keep them while the block runs.

    Does nothing for what does not come from an object store into the cache.

    Raises:
        StorageError: the cache cannot be written.
    """
    places = _places(checkpoint)
    if not places:
        yield
        return
    cache = _cache()
    folder = _homes_folder(cache, home)
    guard = folder.parent / "lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        guard.touch()
    except OSError as e:
        raise explain(e, f"cannot write {folder}") from None
    with lock(guard, exclusive=False):
        try:
            folder.mkdir(exist_ok=True)
            (folder / "home").write_bytes(os.fsencode(home.absolute()))
            for place in places:
                (folder / _marker(cache, place)).touch()
        except OSError as e:
            raise explain(e, f"cannot write {folder}") from None
        yield


def has_brought(home: Path) -> bool:
    """Whether the cache notes anything of the store at `home`."""
    return _homes_folder(_cache(), home).is_dir()


def sweep_objects(store: LocalStore, *, dry_run: bool = False, gone: set[Digest]) -> Swept:
    """Remove the objects that `store` has brought and no image in it uses, unless another store notes them, too.

    Args:
        gone: blobs that count as removed from `store`, for a dry run.

    Raises:
        StorageError: somebody brings objects at the moment, or something cannot be removed.
    """
    cache = _cache()
    mine = _homes_folder(cache, store.home)
    if not mine.is_dir():
        return Swept()
    with store.session(), lock(mine.parent / "lock", exclusive=True, blocking=False):
        used = _used(store, gone)
        others = {
            marker.name for home in mine.parent.iterdir() if home != mine and home.is_dir() for marker in home.iterdir()
        }
        files = freed = 0
        for marker in sorted(mine.iterdir()):
            if marker.name == "home" or (place := _place(cache, marker.name)) is None or place.resolve() in used:
                continue
            if marker.name not in others:
                size = _remove(place, dry_run=dry_run)
                files, freed = files + (size > 0), freed + size
            if not dry_run:
                marker.unlink(missing_ok=True)
    return Swept(files=files, freed=freed)


def _cache() -> Path:
    return cache_folder().expanduser().absolute().resolve()


def _places(checkpoint: Checkpoint) -> list[Path]:
    """Where its objects are in the cache, or will be."""
    try:
        cache = _cache()
    except StorageError:  # no home folder, and so no cache there
        return []
    source = checkpoint.remote.source if checkpoint.remote is not None else None
    awaited = [source.place(file).resolve() for file in source.files] if isinstance(source, ObjectSource) else []
    found = [place for place in (*awaited, *(file.source for file in checkpoint.files)) if place.is_relative_to(cache)]
    return [place for place in found if len(place.relative_to(cache).parts) == _DEPTH]


def _used(store: LocalStore, gone: set[Digest]) -> set[Path]:
    """The files that recipes name."""
    content = store.content
    virtual = (digest for digest in content.digests() if digest not in gone and content.is_virtual(digest))
    files = (file_under(segment) for digest in virtual for segment in content.map(digest).segments())
    return {file.path.resolve() for file in files if file is not None}


def _remove(place: Path, *, dry_run: bool) -> int:
    """The object, and what has come of it where it is unfinished; returns bytes."""
    freed = 0
    for path in (place, *place.parent.glob(f"{place.name}{_UNFINISHED}*")):
        with suppress(FileNotFoundError):
            freed += path.stat().st_blocks * 512
            if not dry_run:
                try:
                    path.unlink()
                except OSError as e:
                    raise explain(e, f"cannot remove {path}") from None
    return freed


def _homes_folder(cache: Path, home: Path) -> Path:
    return cache / _HOMES / Digest.of(os.fsencode(home.resolve())).hex[:32]


def _marker(cache: Path, place: Path) -> str:
    """`place` may be that of the unfinished object."""
    scheme, bucket, name = place.relative_to(cache).parts
    return f"{scheme}~{bucket}~{name.removesuffix(_UNFINISHED)}"


def _place(cache: Path, marker: str) -> Path | None:
    parts = marker.split("~")
    return (
        cache.joinpath(*parts) if len(parts) == _DEPTH and all(part not in ("", ".", "..") for part in parts) else None
    )
