"""Writing images and what belongs to them into one tar, which is an OCI image layout (`docs/formats/archive.md`)."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, cast

from modelcar.errors import SizeMismatch, UsageError
from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, Digest, Index
from modelcar.progress import SILENT, Progress
from modelcar.store.base import Store
from modelcar.store.disk import copy_into, explain, fsync_dir
from modelcar.store.layout import MARKER
from modelcar.store.tree import walk

__all__ = ["Part", "archive_content", "check_absent", "gather_archive", "write_archive"]

_BUFFER: Final = 1 << 20
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An entry of an archive's index, an image or what is attached to one, and the store that has all it reaches.

    `trusted` says that the store is the user's own, so that its bytes need no hashing.
    """

    entry: Descriptor
    store: Store
    trusted: bool = False


def write_archive(
    path: Path, parts: Sequence[Part], *, others: Mapping[str, bytes] | None = None, progress: Progress = SILENT
) -> int:
    """Write the file `path` with all that `parts` reach; returns its size in bytes.

    It appears when it is complete and on disk. The kernel copies weights, or shares their blocks where the file system
    can.

    Args:
        parts: in the order in which `index.json` lists them.
        others: further files in it, by their path.

    Raises:
        UsageError: something is at `path` already.
        SourceChanged: a file that a virtual layer consists of is not what it was; found before anything is written.
        InvalidContent: the source's bytes are not what their digests say.
        StorageError: it cannot be written; nothing of it is left.
    """
    check_absent(path)
    content = gather_archive(parts, others=others, progress=progress)
    _write(path, content, progress)
    return content.size


def gather_archive(
    parts: Sequence[Part], *, others: Mapping[str, bytes] | None = None, progress: Progress = SILENT
) -> ByteMap:
    """The bytes that `write_archive` would write, where they lie; only what is not trusted is read, and hashed.

    `progress` expects the archive's bytes too. Raises as `write_archive`.
    """
    trusted = _blobs([part for part in parts if part.trusted])
    doubtful = {digest: b for digest, b in _blobs([p for p in parts if not p.trusted]).items() if digest not in trusted}
    content = archive_content({**trusted, **doubtful}, [part.entry for part in parts], others or {})
    progress.expect(content.size + sum(blob.size for blob in doubtful.values()))
    for digest, blob in doubtful.items():
        _verify(digest, blob, progress)
    return content


def archive_content(
    blobs: Mapping[Digest, ByteMap], entries: Sequence[Descriptor], others: Mapping[str, bytes]
) -> ByteMap:
    """The bytes of an archive: a pure function of what is in it, by tar policy v1. Costs no I/O."""
    files = {"oci-layout": MARKER, "index.json": Index(manifests=tuple(entries)).content, **others}
    members = [Entry(path=path, content=Literal(content)) for path, content in files.items()]
    members += [Entry(path=f"blobs/{digest.algorithm}/{digest.hex}", content=blob) for digest, blob in blobs.items()]
    return build_tar(members).content


def _blobs(parts: Sequence[Part]) -> dict[Digest, ByteMap]:
    """All that is reachable, complete and as large as promised."""
    blobs: dict[Digest, ByteMap] = {}
    for part in parts:
        for descriptor in walk(part.store, part.entry):
            blob = part.store.map(descriptor.digest)
            if blob.size != descriptor.size:
                raise SizeMismatch(f"{descriptor.digest} has {blob.size} bytes where {descriptor.size} were promised")
            blob.check()
            blobs[descriptor.digest] = blob
    return blobs


def _verify(digest: Digest, blob: ByteMap, progress: Progress) -> None:
    key = str(digest)
    progress.start(key, digest.short, blob.size)
    with blob.open() as reader:
        stream = digest.verifying(cast("BinaryIO", reader), blob.size)
        while piece := stream.read(_BUFFER):
            progress.advance(key, len(piece))
    progress.finish(key)


def _write(path: Path, content: ByteMap, progress: Progress) -> None:
    key = str(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    progress.start(key, path.name, content.size)
    try:
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            try:
                with content.open() as reader:
                    copy_into(fd, reader, partial(progress.advance, key))
                os.fsync(fd)
            finally:
                os.close(fd)
            _publish(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink()
        fsync_dir(path.parent)
    except OSError as e:
        raise explain(e, f"cannot write {path}") from None
    progress.finish(key)


def _publish(temporary: Path, path: Path) -> None:
    """A link and not a rename, because that would replace what has appeared at `path` meanwhile."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise _taken(path) from None
    except OSError as e:
        if e.errno not in _NO_LINKS:
            raise
        check_absent(path)  # sticks and shares without links; what appears within this moment is lost
        temporary.rename(path)


def check_absent(path: Path) -> None:
    """Raise `UsageError` if something is at `path`."""
    if path.exists() or path.is_symlink():
        raise _taken(path)


def _taken(path: Path) -> UsageError:
    return UsageError(f"{path} is there already", hint="name another file, or remove it")
