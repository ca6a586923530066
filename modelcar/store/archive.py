"""An OCI image layout in one tar (`oci-archive:`), read where it lies: every blob is a range of the file.

Whoever wrote it is trusted no more than a foreign folder: the tar is parsed strictly, and blobs are checked against
their digests by whoever uses them.
"""

from __future__ import annotations

import os
import stat
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NoReturn

from modelcar.errors import InvalidContent, NotFound, SourceChanged, UsageError
from modelcar.files import FileStamp
from modelcar.layers.bytemap import ByteMap, ByteReader, FileRange
from modelcar.layers.members import locate_members
from modelcar.layers.tar import Payload
from modelcar.oci import Digest, parse_object
from modelcar.store.base import Writer
from modelcar.store.disk import explain

__all__ = ["ArchiveStore"]

_MAX_INDEX: Final = 4 << 20  # bytes
_COMPRESSED: Final = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
}


class ArchiveStore:
    """`Layout` in a file that is never written to; any number of threads may read it.

    Its file is parsed once, when this is made, and must not change from then on: reading on raises `SourceChanged`.

    Raises:
        NotFound: there is no such file, or no OCI image layout in it.
        UsageError: it is a folder, or compressed.
        InvalidContent: it is damaged, or has something in it that no archive needs.
    """

    def __init__(self, file: Path) -> None:
        self.root = file
        self._path = Path(os.path.abspath(file))  # noqa: PTH100  # a link may point elsewhere tomorrow: the stamp tells
        self._stamp, self._members = _scan(self._path, file)
        self._check_version()

    @property
    def location(self) -> str:
        return f"oci-archive:{self.root}"

    def member(self, path: str, limit: int) -> bytes:
        """A small file that is in it, a blob or not. Raises `NotFound`; `InvalidContent` beyond `limit` bytes."""
        if path not in self._members:
            raise NotFound(f"{self.root} is not an OCI image layout: there is no {path} in it", hint=self._hint())
        content = self._map(self._members[path])
        if content.size > limit:
            raise InvalidContent(f"{path} in {self.root} has {content.size} bytes, more than the {limit} that are read")
        with content.open() as reader:
            return reader.read()

    def members(self, folder: str) -> list[str]:
        """The paths of all files below `folder`, sorted."""
        return sorted(path for path in self._members if path.startswith(f"{folder}/"))

    def read_index(self) -> bytes:
        return self.member("index.json", _MAX_INDEX)

    def write_index(self, content: bytes) -> None:  # noqa: ARG002  # the store's signature; an archive is read only
        self._refuse()

    def locked(self) -> AbstractContextManager[None]:
        self._refuse()

    def __contains__(self, digest: Digest) -> bool:
        return _blob(digest) in self._members

    def size(self, digest: Digest) -> int:
        return self._find(digest).size

    def map(self, digest: Digest) -> ByteMap:
        return self._map(self._find(digest))

    def open(self, digest: Digest, offset: int = 0, length: int | None = None) -> ByteReader:
        return self.map(digest).open(offset, length)

    def begin(self, expected: Digest | None = None) -> Writer:  # noqa: ARG002  # the store's signature; an archive is read only
        self._refuse()

    def delete(self, digest: Digest) -> None:
        self._find(digest)
        self._refuse()

    def _find(self, digest: Digest) -> Payload:
        try:
            return self._members[_blob(digest)]
        except KeyError:
            raise NotFound(f"{digest} is not in {self.root}") from None

    def _map(self, member: Payload) -> ByteMap:
        self._check_unchanged()
        where = FileRange(path=self._path, offset=member.offset, size=member.size, stamp=self._stamp)
        return ByteMap([where])

    def _check_unchanged(self) -> None:
        """Readers check too, but their words are for checkpoints."""
        try:
            change = self._stamp.difference(FileStamp.from_stat(self._path.stat()))
        except OSError as e:
            raise SourceChanged(f"cannot read {self.root} any more: {e.strerror}") from None
        if change is not None:
            raise SourceChanged(f"{self.root} has changed while it was read: {change}", hint="run it again")

    def _check_version(self) -> None:
        marker = self.member("oci-layout", 4096)
        version = parse_object(marker, f"oci-layout in {self.root}").get("imageLayoutVersion")
        if version != "1.0.0":
            raise InvalidContent(f"{self.root} is an OCI image layout of version {version!r}; 1.0.0 is the one we know")

    def _hint(self) -> str | None:
        if "manifest.json" in self._members:
            return "it is of Docker's older kind: `skopeo copy docker-archive:FILE oci-archive:NEW` makes one"
        return None

    def _refuse(self) -> NoReturn:
        raise UsageError(
            f"{self.root} is an archive, and those are never changed",
            hint="`modelcar copy` brings its image to an OCI layout or a registry",
        )


def _blob(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _scan(path: Path, shown: Path) -> tuple[FileStamp, dict[str, Payload]]:
    try:
        # Not blocking, because it may be a pipe; for regular files it makes no difference.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFound(f"there is no file {shown}") from None
    except OSError as e:
        raise explain(e, f"cannot read {shown}") from None
    try:
        st = os.fstat(fd)
        _check_kind(st, os.pread(fd, 8, 0) if stat.S_ISREG(st.st_mode) else b"", shown)
        return FileStamp.from_stat(st), locate_members(lambda offset, n: os.pread(fd, n, offset), st.st_size)
    except OSError as e:
        raise explain(e, f"cannot read {shown}") from None
    except InvalidContent as e:
        raise InvalidContent(f"{shown} is no archive that can be used: {e}") from None
    finally:
        os.close(fd)


def _check_kind(st: os.stat_result, beginning: bytes, shown: Path) -> None:
    if stat.S_ISDIR(st.st_mode):
        raise UsageError(f"{shown} is a folder", hint=f"oci:{shown} names an OCI layout in a folder")
    if not stat.S_ISREG(st.st_mode):
        raise UsageError(f"{shown} is not a regular file", hint="an archive is read where it lies, not from a pipe")
    for magic, name in _COMPRESSED.items():
        if beginning.startswith(magic):
            raise UsageError(
                f"{shown} is compressed ({name})",
                hint="decompress it first: an archive is read where it lies, and weights do not compress anyway",
            )
