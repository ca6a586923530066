"""From what a user typed to a checkpoint."""

from __future__ import annotations

from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING

from modelcar.checkpoint.checkpoint import Checkpoint, Provenance
from modelcar.checkpoint.file import Role
from modelcar.checkpoint.formats.reader import printable
from modelcar.checkpoint.formats.shards import shard_of
from modelcar.checkpoint.hubcache import HubSnapshot, find_snapshot, select_snapshot
from modelcar.checkpoint.links import resolve_link
from modelcar.checkpoint.names import check_name
from modelcar.checkpoint.walk import read_file_entry, walk
from modelcar.errors import SourceError, StorageError

if TYPE_CHECKING:
    from os import PathLike

    from modelcar.checkpoint.hub import HubOptions

__all__ = ["open_checkpoint"]

_HUB_SCHEME = "hf://"
_WHAT_TO_NAME = "name a folder, a weights file, or hf://org/name"


def open_checkpoint(source: str | PathLike[str], *, hub: HubOptions | None = None, complete: bool = True) -> Checkpoint:
    """Find out what there is to package at `source`. No weight is read.

    Args:
        source: a folder; a snapshot or a repository's folder in the Hub's cache; one weights file; or
            `hf://org/name[@revision]`, which is downloaded into the Hub's cache unless it is there already.
        hub: how to talk to the Hub; by default as its own tools do.
        complete: whether it has to be something to package. If not, any single file will do, and Git LFS pointers are
            files like others.

    Raises:
        SourceError: it cannot be packaged; see its subclasses.
        WorldError: it cannot be read or downloaded now.
    """
    source = fspath(source)
    if source.startswith(_HUB_SCHEME):
        from modelcar.checkpoint.hub import HubOptions, download_snapshot

        options = hub or HubOptions()
        root, endpoint = download_snapshot(source.removeprefix(_HUB_SCHEME), options)
        return _open_folder(root, endpoint=endpoint, complete=complete)
    real = _existing(source)
    if real.is_dir():
        return _open_folder(real, complete=complete)
    if real.is_file():
        return _open_single(Path(source), complete=complete)
    raise SourceError(f"{printable(source, 400)} is neither a folder nor a file", hint=_WHAT_TO_NAME)


def _existing(source: str) -> Path:
    """The absolute path without links of what `source` names."""
    if not source:
        raise SourceError("no source is named", hint=_WHAT_TO_NAME)
    try:
        return Path(source).resolve(strict=True)
    except PermissionError as e:
        raise StorageError(f"cannot read {printable(source, 400)}: {e.strerror}", hint="make it readable") from None
    except (OSError, RuntimeError, ValueError):
        raise SourceError(f"there is no {printable(source, 400)}", hint=_WHAT_TO_NAME) from None


def _open_folder(real: Path, *, endpoint: str | None = None, complete: bool) -> Checkpoint:
    snapshot = select_snapshot(real)
    root = snapshot.root if snapshot else real
    snapshot = snapshot or find_snapshot(real)
    files, excluded = walk(root, snapshot, complete=complete)
    return Checkpoint(root=root, provenance=_provenance(snapshot, endpoint), files=files, excluded=excluded)


def _open_single(place: Path, *, complete: bool) -> Checkpoint:
    """One weights file, or any file if it need not be complete.

    Its name is the one that was typed; where links lead from there is the user's own business.
    """
    folder = place.parent.resolve()
    path = place.name
    check_name("", path)
    shard = shard_of(path)
    if complete and shard is not None and shard[2] > 1:
        raise SourceError(f"{place} is one of {shard[2]} shards", hint="name the folder that holds all of them")
    snapshot = find_snapshot(folder)
    link = folder / path
    hops = resolve_link(link, path, lambda _: True) if link.is_symlink() else (link,)
    file = read_file_entry(hops[-1], path, snapshot.known_sha256(hops) if snapshot else None, complete=complete)
    if complete and file.role is not Role.WEIGHT:
        raise SourceError(f"{place} is not a weights file", hint="name the folder that holds the model")
    return Checkpoint(root=folder, provenance=_provenance(snapshot, None), files=(file,))


def _provenance(snapshot: HubSnapshot | None, endpoint: str | None) -> Provenance:
    if snapshot is None:
        return Provenance()
    return Provenance(repo=snapshot.repo, revision=snapshot.commit, endpoint=endpoint)
