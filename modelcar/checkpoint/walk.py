"""From a folder to the files of a checkpoint.

Every folder is opened relative to its parent and without following links, every file is opened and looked at through
its descriptor: what was checked is what is recorded, even while somebody changes the tree. Links to files are followed
as far as the checkpoint reaches; links to folders are refused, because what they hold would be packaged twice.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modelcar.checkpoint.file import CheckpointFile
from modelcar.checkpoint.formats.reader import printable
from modelcar.checkpoint.formats.sniff import GIT_LFS_POINTER, detect_format, read_head
from modelcar.checkpoint.links import resolve_link
from modelcar.checkpoint.names import Collisions, check_name, check_path
from modelcar.checkpoint.roles import role_of
from modelcar.errors import EmptySource, MalformedFile, SourceChanged, SourceError, StorageError, UnsafePath
from modelcar.files import FileStamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelcar.checkpoint.hubcache import HubSnapshot

__all__ = ["EXCLUDED_FOLDERS", "EXCLUDED_NAMES", "MAX_FILES", "excluded_part", "read_file_entry", "walk"]

MAX_FILES = 100_000
EXCLUDED_FOLDERS = frozenset({".git", "__pycache__", ".ipynb_checkpoints", ".cache/huggingface"})
EXCLUDED_NAMES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def walk(
    root: Path, snapshot: HubSnapshot | None, *, complete: bool = True
) -> tuple[tuple[CheckpointFile, ...], tuple[str, ...]]:
    """The files under `root` (absolute, without links), and what was left out; both sorted by the bytes of their paths.

    Args:
        snapshot: the cached snapshot that `root` is or lies in; its links may lead to the blobs of its cache.
        complete: whether Git LFS pointers are refused.

    Raises:
        EmptySource: no file is left to package.
        UnsafePath: a name that no tar can hold, a collision, a link that leaves the checkpoint, a special file.
        SourceError: a link to nothing, too many files.
        MalformedFile: a Git LFS pointer where a file should be.
        StorageError: something there cannot be read.
    """
    walker = _Walker(root=root, snapshot=snapshot, complete=complete)
    with _open_folder(root, None, str(root)) as fd:
        walker.visit(fd, "")
    if not walker.files:
        left_out = f" besides {', '.join(walker.excluded[:5])}" if walker.excluded else ""
        raise EmptySource(f"{root} holds no file to package{left_out}", hint="name the folder that holds the model")
    collisions = Collisions()
    files = sorted(walker.files, key=lambda file: file.path.encode())
    for file in files:
        collisions.add(file.path)
    return tuple(files), tuple(sorted(walker.excluded, key=str.encode))


def read_file_entry(source: Path, path: str, known_sha256: str | None, *, complete: bool) -> CheckpointFile:
    """The checkpoint file `path` whose bytes lie at `source`, an absolute path without links."""
    check_path(path)
    with _open_file(source, None, path) as fd:
        file = _describe(fd, source, path, known_sha256, complete=complete)
    if Path(os.path.realpath(source)) != source:
        raise SourceChanged(f"{path} was moved while it was looked at", hint="try again once nothing writes to it")
    return file


def excluded_part(path: str) -> str | None:
    """The part of a file's `path` that is left out, a folder with a trailing slash; `None` if it is packaged."""
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        folder = end < len(parts)
        if _is_left_out("/".join(parts[:end]), parts[end - 1], folder=folder):
            return "/".join(parts[:end]) + ("/" if folder else "")
    return None


def _is_left_out(path: str, name: str, *, folder: bool) -> bool:
    if name in EXCLUDED_NAMES or name == ".git":
        return True
    return folder and (name in EXCLUDED_FOLDERS or path in EXCLUDED_FOLDERS)


@dataclass(kw_only=True)
class _Walker:
    root: Path
    snapshot: HubSnapshot | None
    complete: bool
    files: list[CheckpointFile] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)

    def visit(self, fd: int, folder: str) -> None:
        """Collect what lies in the open folder `fd`, which is `folder` in the checkpoint (empty at the top)."""
        for name, mode in _listing(fd, folder or str(self.root)):
            path = f"{folder}/{name}" if folder else name
            if self._is_excluded(path, name, mode):
                continue
            check_name(folder, name)
            check_path(path)
            if stat.S_ISDIR(mode):
                with _open_folder(name, fd, path) as inner:
                    self.visit(inner, path)
            elif stat.S_ISLNK(mode):
                self._add(self._linked(path))
            elif stat.S_ISREG(mode):
                with _open_file(name, fd, path) as inner:
                    self._add(_describe(inner, self.root / path, path, None, complete=self.complete))
            else:
                raise _special(path)

    def _is_excluded(self, path: str, name: str, mode: int) -> bool:
        if not _is_left_out(path, name, folder=stat.S_ISDIR(mode)):
            return False
        self.excluded.append(path + ("/" if stat.S_ISDIR(mode) else ""))
        return True

    def _add(self, file: CheckpointFile) -> None:
        self.files.append(file)
        if len(self.files) > MAX_FILES:
            raise SourceError(
                f"{self.root} holds more than {MAX_FILES} files",
                hint="name the folder that holds the model and nothing else",
            )

    def _linked(self, path: str) -> CheckpointFile:
        hops = resolve_link(self.root / path, path, self._may_lead_to)
        known = self.snapshot.known_sha256(hops) if self.snapshot else None
        return read_file_entry(hops[-1], path, known, complete=self.complete)

    def _may_lead_to(self, target: Path) -> bool:
        return target.is_relative_to(self.root) or (self.snapshot is not None and self.snapshot.owns(target))


def _listing(fd: int, folder: str) -> list[tuple[str, int]]:
    """Names and modes of what lies in the open folder `fd`, sorted."""
    try:
        with os.scandir(fd) as entries:
            return sorted((entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in entries)
    except OSError as e:
        raise _unreadable(folder, e) from None


@contextmanager
def _open_folder(name: str | Path, parent: int | None, path: str) -> Iterator[int]:
    yield from _opened(name, _FOLDER_FLAGS, parent, path)


@contextmanager
def _open_file(name: str | Path, parent: int | None, path: str) -> Iterator[int]:
    yield from _opened(name, _FILE_FLAGS, parent, path)


def _opened(name: str | Path, flags: int, parent: int | None, path: str) -> Iterator[int]:
    try:
        fd = os.open(name, flags, dir_fd=parent)
    except OSError as e:
        raise _unreadable(path, e) from None
    try:
        yield fd
    finally:
        os.close(fd)


def _describe(fd: int, source: Path, path: str, known_sha256: str | None, *, complete: bool) -> CheckpointFile:
    """What the open file `fd` is."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise _special(path)
    try:
        head = read_head(fd)
    except OSError as e:
        raise _unreadable(path, e) from None
    found = detect_format(path.rpartition("/")[2], head, status.st_size)
    if found == GIT_LFS_POINTER and complete:
        raise MalformedFile(
            f"{printable(path, 200)} is a Git LFS pointer, not the file that it stands for",
            hint="run `git lfs pull` there",
        )
    return CheckpointFile(
        path=path,
        source=source,
        stamp=FileStamp.from_stat(status),
        role=role_of(path, found),
        format=found,
        known_sha256=known_sha256,
    )


def _unreadable(path: str, error: OSError) -> StorageError | SourceChanged:
    shown = printable(path, 200)
    if error.errno in (errno.ELOOP, errno.ENOENT, errno.ENOTDIR):
        return SourceChanged(f"{shown} was replaced while it was looked at", hint="try again once nothing writes there")
    hint = "make it readable, or remove it" if error.errno in (errno.EACCES, errno.EPERM) else None
    return StorageError(f"cannot read {shown}: {error.strerror}", hint=hint)


def _special(path: str) -> UnsafePath:
    return UnsafePath(f"{printable(path, 200)} is neither a file nor a folder", hint="remove it: no model needs it")
