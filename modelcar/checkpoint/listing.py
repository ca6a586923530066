"""From a listing of files that lie elsewhere to a checkpoint: small files are brought, of weights only heads read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelcar.checkpoint.checkpoint import Checkpoint
from modelcar.checkpoint.file import CheckpointFile, Role
from modelcar.checkpoint.formats.reader import printable
from modelcar.checkpoint.formats.sniff import GIT_LFS_POINTER, HEAD_SIZE, detect_format
from modelcar.checkpoint.names import Collisions, check_name, check_path
from modelcar.checkpoint.remote import Remote, RemoteFile, RemoteSource, read_range
from modelcar.checkpoint.roles import role_of
from modelcar.checkpoint.walk import MAX_FILES, excluded_part, read_file_entry
from modelcar.errors import EmptySource, MalformedFile, SourceError
from modelcar.files import FileStamp
from modelcar.oci import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["open_remote"]

_AT_ONCE: Final = 8  # files
_SMALL: Final = 16 << 20  # bytes; what is larger, or a weight, waits until its bytes are wanted


def open_remote(source: RemoteSource, *, complete: bool = True) -> Checkpoint:
    """What there is to package at `source`. No weight is read.

    Args:
        complete: whether Git LFS pointers are refused.

    Raises:
        SourceError: it cannot be packaged; see its subclasses.
        WorldError: it cannot be read now.
    """
    wanted, excluded = _sort_out(source.files, source.name)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="modelcar-listing") as pool:
        futures = [pool.submit(_describe, source, file, complete=complete) for file in wanted]
        try:
            files = tuple(future.result() for future in futures)
        finally:
            for future in futures:
                future.cancel()
    remote = Remote(source=source, files={file.path: file for file in wanted})
    return Checkpoint(
        root=source.root,
        provenance=source.provenance,
        files=files,
        excluded=excluded,
        remote=remote,
    )


def _sort_out(files: Iterable[RemoteFile], name: str) -> tuple[list[RemoteFile], tuple[str, ...]]:
    """What is packaged, sorted by the bytes of its paths, and what is left out."""
    wanted: list[RemoteFile] = []
    excluded: set[str] = set()
    for file in files:
        _check(file.path)
        left_out = excluded_part(file.path)
        if left_out is not None:
            excluded.add(left_out)
        else:
            wanted.append(file)
    if len(wanted) > MAX_FILES:
        raise SourceError(f"{name} holds more than {MAX_FILES} files", hint="leave out what is not the model")
    if not wanted:
        raise EmptySource(f"{name} holds no file to package", hint="name the place that holds the model")
    wanted.sort(key=lambda file: file.path.encode())
    collisions = Collisions()
    for file in wanted:
        collisions.add(file.path)
    return wanted, tuple(sorted(excluded, key=str.encode))


def _check(path: str) -> None:
    folder = ""
    for name in path.split("/"):
        check_name(folder, name)
        folder = f"{folder}/{name}" if folder else name
    check_path(path)


def _describe(source: RemoteSource, file: RemoteFile, *, complete: bool) -> CheckpointFile:
    here = source.existing(file)
    if here is None and file.size < _SMALL and role_of(file.path, _format_by_name(file)) is not Role.WEIGHT:
        here = source.bring(file)
    if here is not None:
        return replace(read_file_entry(here, file.path, file.sha256, complete=complete), origin=_origin(source, file))
    found = detect_format(_name(file), read_range(source, file, 0, min(HEAD_SIZE, file.size)), file.size)
    if found == GIT_LFS_POINTER and complete:
        raise MalformedFile(
            f"{printable(file.path, 200)} is a Git LFS pointer, not the file that it stands for",
            hint="its publisher has to upload the file itself",
        )
    return CheckpointFile(
        path=file.path,
        source=Path(source.name) / file.path,
        stamp=FileStamp(device=0, inode=0, size=file.size, mtime_ns=0, ctime_ns=0),
        role=role_of(file.path, found),
        format=found,
        known_sha256=file.sha256,
        awaited=True,
        origin=_origin(source, file),
    )


def _origin(source: RemoteSource, file: RemoteFile) -> str:
    return Digest.of("\0".join((source.name, file.path, file.version, str(file.size))).encode()).hex


def _format_by_name(file: RemoteFile) -> str | None:
    return detect_format(_name(file), b"", file.size)


def _name(file: RemoteFile) -> str:
    return file.path.rpartition("/")[2]
