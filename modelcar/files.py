"""What identifies a file's state, and opening a source file only if it is still in that state.

Weights are never copied, so everything that reads them later must notice when they are no longer what was hashed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from modelcar.errors import SourceChanged, StorageError, UsageError

__all__ = [
    "FileStamp",
    "ReadAt",
    "check_unchanged",
    "ends_early",
    "is_there",
    "open_unchanged",
    "read_bounded",
    "read_own",
    "reading",
    "stamps_of",
]

ReadAt = Callable[[int, int], bytes]
"""`read_at(offset, n)`: up to `n` bytes, fewer only at the end of what is read."""

_MOST_AT_ONCE = 1 << 30  # bytes; the kernel gives no more than 2 GiB
_BUILD_AGAIN = "run `modelcar build` again to package it as it is now"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStamp:
    """What the kernel says of one state of one file. Sizes are bytes, times are nanoseconds since the epoch.

    The change time cannot be set by an unprivileged program, so equal stamps mean equal content, except for a write
    within one tick of the clock: see `is_settled`.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def from_stat(cls, st: os.stat_result) -> FileStamp:
        return cls(
            device=st.st_dev,
            inode=st.st_ino,
            size=st.st_size,
            mtime_ns=st.st_mtime_ns,
            ctime_ns=st.st_ctime_ns,
        )

    def is_settled(self, now_ns: int) -> bool:
        """Whether a write from now on is sure to change the stamp: the last change lies more than a clock tick back."""
        whole_seconds = self.mtime_ns % 10**9 == 0 and self.ctime_ns % 10**9 == 0
        tick_ns = 2 * 10**9 if whole_seconds else 50 * 10**6
        return now_ns - max(self.mtime_ns, self.ctime_ns) > tick_ns

    def difference(self, current: FileStamp) -> str | None:
        """What of `current` says that the file changed, in words; `None` if nothing does.

        The device number is left out: it may differ after a reboot, and the inode and both times stand for it.
        """
        if current.size != self.size:
            return f"it had {self.size} bytes and now has {current.size}"
        if current.mtime_ns != self.mtime_ns:
            return "it was written to"
        if (current.ctime_ns, current.inode) != (self.ctime_ns, self.inode):
            return "it was replaced, or its mode or owner changed"
        return None


def stamps_of(paths: Iterable[Path]) -> tuple[FileStamp | None, ...]:
    """Of each file, followed through links (as Kubernetes swaps them); `None` for one that cannot be looked at."""
    return tuple(_stamp(path) for path in paths)


def _stamp(path: Path) -> FileStamp | None:
    try:
        return FileStamp.from_stat(path.stat())
    except OSError:
        return None


def check_unchanged(fd: int, path: Path, stamp: FileStamp) -> None:
    """Raise `SourceChanged` if the open file `fd` no longer has `stamp`."""
    change = stamp.difference(FileStamp.from_stat(os.fstat(fd)))
    if change is not None:
        raise SourceChanged(
            f"{path} has changed since it was hashed: {change}",
            hint=_BUILD_AGAIN,
        )


def ends_early(path: Path, offset: int) -> SourceChanged:
    """The error for a file in which a read at `offset` found nothing where there were bytes when it was hashed."""
    return SourceChanged(f"{path} has changed since it was hashed: it ends at byte {offset}", hint=_BUILD_AGAIN)


def open_unchanged(path: Path, stamp: FileStamp) -> int:
    """Open `path` for reading and return its file descriptor, which the caller closes.

    Raises:
        SourceChanged: the file is gone, unreadable, or not in the state that `stamp` describes.
    """
    try:
        # Not blocking, because a pipe may stand there now; for regular files it makes no difference.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise SourceChanged(
            f"{path} is gone; the image refers to it and holds no copy",
            hint="restore the file, or build the image again",
        ) from None
    except OSError as e:
        raise SourceChanged(f"cannot read {path}: {e.strerror}") from None
    try:
        check_unchanged(fd, path, stamp)
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_there(path: Path) -> bool:
    """Whether something is at `path`, links followed.

    Raises:
        OSError: nobody can tell: a folder on the way may not be entered, say. From Python 3.14 on `Path.exists` says
            no there, as if one could begin anew.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for a NUL in its name
        return False
    return True


def read_bounded(path: Path, limit: int, what: str) -> bytes:
    """The content of a file that somebody names as `what` ("a policy"): a device, or a model, is not read to its end.

    Raises:
        StorageError: it cannot be read.
        UsageError: it has more than `limit` bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as e:
        raise StorageError(f"cannot read {path}: {e.strerror}") from None
    except ValueError:  # a NUL in its name
        raise StorageError(f"cannot read {str(path)!r}: no file has such a name") from None
    if len(content) > limit:
        raise UsageError(f"{path} has more than {limit} bytes: it is not {what}")
    return content


def read_own(path: Path, limit: int) -> bytes:
    """The content of a small file that we wrote ourselves, whatever has taken its name since: nothing here waits for
    the other end of a pipe, or reads a device to its end.

    Raises:
        OSError: as the kernel does, or saying that it is not a file, or that it has more than `limit` bytes.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
        with open(fd, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        os.close(fd)
    if len(content) > limit:
        raise OSError(errno.EINVAL, f"it has more than {limit} bytes", str(path))
    return content


def reading(fd: int, path: Path | str) -> ReadAt:
    """Reads the open file `fd` at any offset; `path` is for messages.

    Raises:
        StorageError: from what it returns, if the disk does not give the bytes.
    """

    def read_at(offset: int, n: int) -> bytes:
        parts = []
        try:
            while n > 0 and (part := os.pread(fd, min(n, _MOST_AT_ONCE), offset)):
                parts.append(part)
                offset, n = offset + len(part), n - len(part)
        except OSError as e:
            raise StorageError(f"cannot read {path}: {e.strerror}") from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return read_at
