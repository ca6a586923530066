"""The few file operations that everything on disk here is made of: atomic writes, locks, and copies by the kernel."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modelcar.errors import NoSpace, StorageError
from modelcar.files import ends_early
from modelcar.layers.bytemap import ByteReader, FileSlice

__all__ = ["atomic_write", "copy_into", "explain", "fsync_dir", "lock", "make_dirs"]

_COPY_STEP = 256 << 20  # a multiple of every file system's block, so that reflinks stay possible from step to step
_BLOCK = 1 << 20
_NOT_THIS_WAY = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ENOTSOCK}
)


def explain(error: OSError, doing: str) -> StorageError:
    """`error` as one line for a person; `doing` says what failed ("cannot write FILE")."""
    hints = {
        errno.ENOSPC: "free some space and run it again; nothing half-written is visible",
        errno.EDQUOT: "the quota is used up; nothing half-written is visible",
        errno.EACCES: "check the owner and mode of the folder, or choose another",
        errno.EROFS: "choose another folder",
        errno.EEXIST: "a file has that name; move it elsewhere, or choose another folder",
        errno.ENOTDIR: "a part of that path is a file; move it elsewhere, or choose another folder",
        errno.EFBIG: "its file system holds no files as large as this; FAT, for one, ends at 4 GiB",
    }
    kind = NoSpace if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
    return kind(f"{doing}: {error.strerror or error}", hint=hints.get(error.errno or 0))


def make_dirs(path: Path) -> None:
    """Create `path` and its parents durably."""
    missing = []
    try:
        while not path.is_dir():
            missing.append(path)
            path = path.parent
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            with suppress(PermissionError):  # one may write to a folder that one may not list
                fsync_dir(folder.parent)
    except OSError as e:
        raise explain(e, f"cannot create {missing[0] if missing else path}") from None


def fsync_dir(path: Path) -> None:
    """Make renames within `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def atomic_write(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Replace `path` by `data` so that readers see the old content or the new one, also after a crash."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with open(fd, "wb") as f:
                f.write(data)
                f.flush()
                os.fsync(fd)
            temporary.rename(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        fsync_dir(path.parent)
    except OSError as e:
        raise explain(e, f"cannot write {path}") from None


@contextmanager
def lock(path: Path, *, exclusive: bool, blocking: bool = True) -> Iterator[None]:
    """Hold a lock on an existing file or folder; the kernel releases it if the process dies.

    Raises:
        StorageError: `blocking` is off and someone else holds it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        raise explain(e, f"cannot open {path}") from None
    try:
        operation = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if blocking else fcntl.LOCK_NB)
        try:
            fcntl.flock(fd, operation)
        except BlockingIOError:
            raise StorageError(f"{path} is in use by another process", hint="wait until it is done") from None
        yield
    finally:
        os.close(fd)


def copy_into(fd: int, reader: ByteReader, advance: Callable[[int], None] = lambda _: None) -> None:
    """Append all that `reader` still has to the open file `fd`, at its end; `advance` is told of every step's bytes.

    File ranges are moved by `copy_file_range`, which makes them reflinks where the file system can (the payloads of
    our layers are aligned for that) and never passes bytes through this process. Only where the kernel moves nothing
    between files, as macOS does not, they are read and written.

    Raises:
        SourceChanged: a file is not, or does not stay, what was hashed.
        OSError: as the kernel raised it.
    """
    position = os.fstat(fd).st_size
    for piece in reader.slices():
        if isinstance(piece, FileSlice):
            _copy_slice(fd, position, piece, advance)
            position += piece.size
        else:
            view = memoryview(piece)
            while view:
                n = os.pwrite(fd, view, position)
                view, position = view[n:], position + n
                advance(n)


def _copy_slice(fd: int, position: int, piece: FileSlice, advance: Callable[[int], None]) -> None:
    ways = [_copied_by_reference, _copied_by_kernel, _copied_by_hand]
    done = 0
    while done < piece.size:
        n = min(piece.size - done, _COPY_STEP)
        try:
            moved = ways[0](piece.fd, piece.offset + done, fd, position + done, n)
        except OSError as e:
            if len(ways) == 1 or e.errno not in _NOT_THIS_WAY:
                raise
            moved = 0
        if moved == 0:  # some file systems copy nothing instead of refusing
            del ways[0]
            if not ways:
                raise ends_early(piece.path, piece.offset + done)
        else:
            done += moved
            advance(moved)


def _copied_by_reference(source: int, offset: int, target: int, position: int, size: int) -> int:
    if not hasattr(os, "copy_file_range"):  # not Linux
        return 0
    return os.copy_file_range(source, target, size, offset, position)


def _copied_by_kernel(source: int, offset: int, target: int, position: int, size: int) -> int:
    """On Linux between any two files; elsewhere into sockets alone."""
    os.lseek(target, position, os.SEEK_SET)
    return os.sendfile(target, source, offset, size)


def _copied_by_hand(source: int, offset: int, target: int, position: int, size: int) -> int:
    return os.pwrite(target, os.pread(source, min(size, _BLOCK), offset), position)
