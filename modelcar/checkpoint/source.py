"""From what a user typed to a checkpoint."""

from __future__ import annotations

import re
from dataclasses import replace
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelcar.checkpoint.checkpoint import Checkpoint
from modelcar.checkpoint.file import Role
from modelcar.checkpoint.formats.reader import printable
from modelcar.checkpoint.formats.shards import shard_of
from modelcar.checkpoint.hub_errors import without_credentials
from modelcar.checkpoint.hubcache import HubSnapshot, find_snapshot, select_snapshot
from modelcar.checkpoint.links import resolve_link
from modelcar.checkpoint.names import check_name
from modelcar.checkpoint.objects.names import SCHEMES, parse_location
from modelcar.checkpoint.provenance import Provenance
from modelcar.checkpoint.walk import read_file_entry, walk
from modelcar.errors import SourceError, StorageError

if TYPE_CHECKING:
    from os import PathLike

    from modelcar.checkpoint.hub import HubOptions

__all__ = ["RANK_FILE", "REMOTE_SCHEMES", "open_checkpoint"]

RANK_FILE: Final = "modelcar-rank.json"
"""Marks a folder with what some ranks need of a model."""
REMOTE_SCHEMES: Final = ("hf://", *SCHEMES)
_HUB_SCHEME: Final = "hf://"
_HUB_NAME: Final = re.compile(
    r"(hf:|(https?://)?(www\.)?(huggingface\.co|hf\.co)/)?(?P<name>[A-Za-z0-9][\w.-]*/[\w.-]*\w)(/(tree|resolve|blob)/.*)?/?"
)
_WHAT_TO_NAME: Final = "name a folder, a weights file, hf://org/name, or s3://bucket/folder"


def open_checkpoint(
    source: str | PathLike[str],
    *,
    hub: HubOptions | None = None,
    complete: bool = True,
    lazy: bool = False,
    spool: Path | None = None,
) -> Checkpoint:
    """Find out what there is to package at `source`. No weight of a folder is read.

    Args:
        source: a folder; a snapshot or a repository's folder in the Hub's cache; one weights file; or
            `hf://org/name[@revision]`, which is downloaded into the Hub's cache unless it is there already; or
            `s3://bucket/folder`, `gs://…`, `az://…`, which is brought into a cache of ours.
        hub: how to talk to the Hub, by default as its own tools do; its patterns hold for object stores, too.
        complete: whether it has to be something to package. If not, any single file will do, Git LFS pointers are
            files like others, and weights may be there in several formats.
        lazy: leave weights where they are until somebody wants their bytes; see `Checkpoint.remote`.
        spool: with `lazy`, a folder to bring them to instead of the cache.

    Raises:
        SourceError: it cannot be packaged; see its subclasses.
        WorldError: it cannot be read or downloaded now.
    """
    source = fspath(source)
    if source.startswith(_HUB_SCHEME):
        checkpoint = _open_hub(source.removeprefix(_HUB_SCHEME), hub, complete=complete, spool=spool)
        return checkpoint if lazy else checkpoint.local()
    if source.startswith(SCHEMES):
        checkpoint = _open_objects(source, hub, complete=complete, spool=spool)
        return checkpoint if lazy else checkpoint.local()
    real = _existing(source)
    if real.is_dir():
        return _open_folder(real, complete=complete)
    if real.is_file():
        return _open_single(Path(source), complete=complete)
    raise SourceError(f"{printable(source, 400)} is neither a folder nor a file", hint=_WHAT_TO_NAME)


def _open_hub(name: str, options: HubOptions | None, *, complete: bool, spool: Path | None) -> Checkpoint:
    from modelcar.checkpoint.hub import HubOptions, is_wanted, parse_hub_name
    from modelcar.checkpoint.hub_source import open_hub
    from modelcar.checkpoint.listing import open_remote
    from modelcar.checkpoint.one_format import check_one_format
    from modelcar.checkpoint.spool import Spooled

    options = options or HubOptions()
    wanted = parse_hub_name(name, options)
    found = open_hub(wanted, options)
    if isinstance(found, Path):
        whole = _open_folder(found, endpoint=wanted.endpoint, complete=complete)
        checkpoint = replace(whole, files=tuple(f for f in whole.files if is_wanted(f.path, options)))
    else:
        checkpoint = open_remote(found if spool is None else Spooled(found, spool), complete=complete)
    if complete:
        check_one_format(checkpoint.files, str(wanted))
    return checkpoint


def _open_objects(source: str, options: HubOptions | None, *, complete: bool, spool: Path | None) -> Checkpoint:
    from modelcar.checkpoint.hub import HubOptions, is_wanted
    from modelcar.checkpoint.listing import open_remote
    from modelcar.checkpoint.objects.source import open_objects
    from modelcar.checkpoint.one_format import check_one_format
    from modelcar.checkpoint.spool import Spooled

    options = options or HubOptions()
    patterns = bool(options.allow_patterns or options.ignore_patterns)
    found = open_objects(parse_location(source), lambda path: not patterns or is_wanted(path, options))
    checkpoint = open_remote(found if spool is None else Spooled(found, spool), complete=complete)
    if complete:
        check_one_format(checkpoint.files, found.name)
    return checkpoint


def _existing(source: str) -> Path:
    """The absolute path without links of what `source` names."""
    if not source:
        raise SourceError("no source is named", hint=_WHAT_TO_NAME)
    try:
        return Path(source).resolve(strict=True)
    except PermissionError as e:
        raise StorageError(f"cannot read {printable(source, 400)}: {e.strerror}", hint="make it readable") from None
    except (OSError, RuntimeError, ValueError):
        shown = without_credentials(source) if "://" in source else source
        raise SourceError(f"there is no {printable(shown, 400)}", hint=_of_the_hub(shown) or _WHAT_TO_NAME) from None


def _of_the_hub(source: str) -> str | None:
    """What to type for a model that is named as on the Hub, or by the address of its page."""
    found = _HUB_NAME.fullmatch(source)
    return f"if it is a model of the Hub, name it hf://{found['name']}" if found else None


def _open_folder(real: Path, *, endpoint: str | None = None, complete: bool) -> Checkpoint:
    snapshot = select_snapshot(real)
    root = snapshot.root if snapshot else real
    snapshot = snapshot or find_snapshot(real)
    files, excluded = walk(root, snapshot, complete=complete)
    if complete and any(file.path == RANK_FILE for file in files):
        raise SourceError(
            f"{root} holds what some ranks need of a model ({RANK_FILE}), and not the model",
            hint="package the original, or pull it without --rank",
        )
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
