"""The digest memo: what this user on this machine hashed before, so that unchanged files are not read again.

A forged entry would let foreign bytes be pushed and signed as this model. So the file is private to its owner, an
entry is written only by the process that hashed the bytes, and its key holds what the kernel says of every file.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from modelcar.errors import ModelcarError, StorageError
from modelcar.files import FileStamp
from modelcar.layers.bytemap import FileRange
from modelcar.layers.hashing import Chunk, LayerDigests, PackedDigests, chunk_bounds
from modelcar.layers.tar import POLICY, Entry, Payload
from modelcar.oci import Digest

__all__ = ["DigestMemo", "content_key", "layer_key"]

_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS layers (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
_MAY_PASS: Final = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
}  # fmt: skip
_WAIT: Final = 30.0  # seconds for another process's transaction
_KEEP: Final = 100_000  # entries; about 100 MB at the very most


def layer_key(entries: Sequence[Entry], content_digests: Sequence[str], variant: str = "") -> str | None:
    """The memo key of a layer, or `None` if it has content without a stamp.

    A digest is a pure function of (paths in the image, tar policy, contents); stamps stand for contents. `variant` is
    what else was done with the tar: its packing, or more digests.
    """
    described = []
    for entry in entries:
        content = entry.content
        if not isinstance(content, FileRange) or content.stamp is None:
            return None
        s = content.stamp
        stamp = [s.device, s.inode, s.size, s.mtime_ns, s.ctime_ns]
        described.append([entry.path, entry.executable, content.offset, content.size, stamp])
    more = [variant] if variant else []
    return str(Digest.of(json.dumps([POLICY, described, sorted(content_digests), *more]).encode()))


def content_key(
    entries: Sequence[Entry], sha256: Mapping[str, str], content_digests: Sequence[str], variant: str = ""
) -> str | None:
    """The same for a layer of which all contents are known by hash (64 hex digits, by path in the image), else `None`.

    Under it stands only what was hashed together with its contents, and these were what they are called here.
    """
    if any(entry.path not in sha256 for entry in entries):
        return None
    described = [[entry.path, entry.executable, entry.content.size, sha256[entry.path]] for entry in entries]
    more = [variant] if variant else []
    return str(Digest.of(json.dumps(["sha256", POLICY, described, sorted(content_digests), *more]).encode()))


class DigestMemo:
    """A private SQLite file in a private folder of its own; safe for any number of processes.

    Raises:
        StorageError: from every method, if file or folder belong to another user, or others may read or write them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str, size: int, payloads: Sequence[Payload]) -> LayerDigests | None:
        """What was hashed under `key`, or `None`; bytes and payloads of the tar give the chunks their bounds."""
        if not os.path.lexists(self._path):
            return None
        with self._connect() as db:
            row = db.execute("SELECT value FROM layers WHERE key = ?", (key,)).fetchone()
        try:
            return _parse(row[0], size, payloads) if row else None
        except (ValueError, TypeError, KeyError, AttributeError, ModelcarError) as e:
            raise self._damaged(f"{type(e).__name__} in the entry {key}") from None

    def put(self, key: str, digests: LayerDigests, stamps: Sequence[FileStamp], started_ns: int) -> None:
        """Remember what the calling process hashed itself, having begun at `started_ns`.

        Files that were changed just before are left out: another write within the same clock tick would not show.
        """
        if not all(stamp.is_settled(started_ns) for stamp in stamps):
            return
        value = json.dumps({**_to_dict(digests), "at": int(time.time())})
        with self._connect() as db, db:
            db.execute("INSERT OR REPLACE INTO layers VALUES (?, ?)", (key, value))
            if db.execute("SELECT count(*) FROM layers").fetchone()[0] > _KEEP:
                db.execute("DELETE FROM layers")

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        self._check_private()
        try:
            with closing(sqlite3.connect(self._path, timeout=_WAIT)) as db:
                db.execute(_SCHEMA)
                yield db
        except sqlite3.Error as e:
            if getattr(e, "sqlite_errorcode", 0) & 0xFF in _MAY_PASS:
                hint = "see that the disk has room and no other build hangs, then try again"
                raise StorageError(f"cannot use the digest memo {self._path}: {e}", hint=hint) from None
            raise self._damaged(str(e)) from None

    def _damaged(self, what: str) -> StorageError:
        return StorageError(f"the digest memo {self._path} is damaged: {what}", hint="remove it; it is made anew")

    def _check_private(self) -> None:
        """The folder counts too: SQLite would replay a journal that another user puts beside the file."""
        folder = self._path.parent
        try:
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700, parents=True)
            private = _is_private(folder.lstat(), stat.S_IFDIR)
            if private:
                if not os.path.lexists(self._path):
                    self._create()
                private = _is_private(self._path.lstat(), stat.S_IFREG)
        except OSError as e:
            raise StorageError(f"cannot open the digest memo {self._path}: {e.strerror}") from None
        if not private:
            raise StorageError(
                f"the digest memo {self._path} is not private to this user, so its digests cannot be trusted",
                hint=f"remove {folder}; it is made anew",
            )

    def _create(self) -> None:
        """An empty file, never open under its own name: closing it would drop the locks that SQLite has on it."""
        temporary = self._path.with_name(f"{self._path.name}.{secrets.token_hex(6)}")
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            with suppress(FileExistsError):
                self._path.hardlink_to(temporary)
        finally:
            temporary.unlink()


def _is_private(st: os.stat_result, kind: int) -> bool:
    return st.st_uid == os.geteuid() and not st.st_mode & 0o077 and stat.S_IFMT(st.st_mode) == kind


def _to_dict(digests: LayerDigests) -> dict[str, Any]:
    result: dict[str, Any] = {
        "digest": str(digests.digest),
        "chunks": [chunk.digest.hex for chunk in digests.chunks],
        "files": {path: str(digest) for path, digest in digests.files.items()},
    }
    if digests.packed is not None:
        result["packed"] = {"digest": str(digests.packed.digest), "crcs": digests.packed.crcs.hex()}
    if digests.spans:
        result["spans"] = [span.hex for span in digests.spans]
    return result


def _parse(value: str, size: int, payloads: Sequence[Payload]) -> LayerDigests | None:
    data = json.loads(value)
    bounds = list(chunk_bounds(size, payloads))
    if len(bounds) != len(data["chunks"]):
        return None
    chunks = [
        Chunk(offset=offset, size=size, digest=Digest("sha256", hexadecimal))
        for (offset, size), hexadecimal in zip(bounds, data["chunks"], strict=True)
    ]
    return LayerDigests(
        digest=Digest.parse(data["digest"]),
        chunks=tuple(chunks),
        files={path: Digest.parse(digest) for path, digest in data["files"].items()},
        packed=_packed(data["packed"]) if "packed" in data else None,
        spans=tuple(Digest("sha256", hexadecimal) for hexadecimal in data.get("spans", ())),
    )


def _packed(data: dict[str, str]) -> PackedDigests:
    return PackedDigests(digest=Digest.parse(data["digest"]), crcs=bytes.fromhex(data["crcs"]))
