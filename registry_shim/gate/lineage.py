"""Which images of a repository consist of which manifests and blobs: what a blob is served for.

One file an image, `ROOT/verdicts/images/<hash of repository and digest>.json`, so that a pull goes on after a restart.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.cache.origin import Origin
from modelcar.errors import ModelcarError, StorageError
from modelcar.files import read_own
from modelcar.oci import Descriptor, Digest, compact_json
from modelcar.store.disk import atomic_write

__all__ = ["Known", "Lineage"]

_log = logging.getLogger("registry_shim.gate")
_FORGOTTEN: Final = 90 * 86400.0  # seconds after which nobody asks for an image any more
_MAX_FILE: Final = 64 << 20  # bytes
_MOST: Final = 10_000  # images; anybody may ask for any number of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An image, or signatures beside one, and everything that it consists of.

    Attributes:
        documents: its manifests and indexes, itself included.
        blobs: its configurations and layers.
    """

    origin: Origin
    root: Descriptor
    documents: frozenset[Digest]
    blobs: frozenset[Digest]
    is_evidence: bool = False

    @property
    def contents(self) -> frozenset[Digest]:
        return self.documents | self.blobs

    @property
    def key(self) -> tuple[str, Digest]:
        return self.origin.name, self.root.digest


class Lineage:
    """Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        """What was known before is read. Raises `StorageError`."""
        self._folder = folder
        self._lock = threading.Lock()
        self._known: dict[tuple[str, Digest], Known] = {}
        self._listing: dict[tuple[str, Digest], set[Digest]] = defaultdict(set)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files = sorted(os.scandir(folder), key=lambda entry: entry.stat(follow_symlinks=False).st_mtime)
        except OSError as e:
            raise StorageError(f"cannot use {folder}: {e.strerror}") from None
        for entry in files:
            self._load(Path(entry.path))

    def get(self, origin: Origin, root: Digest) -> Known | None:
        with self._lock:
            return self._known.get((origin.name, root))

    def listing(self, origin: Origin, digest: Digest) -> tuple[Known, ...]:
        """The images of a repository that list this manifest or blob, those that are it included."""
        with self._lock:
            roots = self._listing.get((origin.name, digest), ())
            return tuple(self._known[origin.name, root] for root in roots)

    def others(self, known: Known, digest: Digest) -> tuple[Known, ...]:
        """Images other than `known`, of any repository, that list a blob."""
        with self._lock:
            found = [k for k in self._known.values() if digest in k.blobs]
        return tuple(k for k in found if k.key != known.key)

    def add(self, known: Known) -> None:
        """Know an image, on disk as well if that takes it: else whoever pulls it asks for its manifest again after a
        restart."""
        if self.get(known.origin, known.root.digest) == known:
            self._put(known)
            with suppress(OSError):
                os.utime(self._file(known))
            return
        data = {
            "registry": known.origin.registry,
            "repository": known.origin.repository,
            "root": known.root.plain().to_dict(),
            "documents": sorted(map(str, known.documents)),
            "blobs": sorted(map(str, known.blobs)),
            "evidence": known.is_evidence,
        }
        try:
            atomic_write(self._file(known), compact_json(data), mode=0o600)
        except StorageError as e:
            _log.warning("what %s consists of is not written down: %s", known.origin, e)
        self._put(known)

    def _put(self, known: Known) -> None:
        """As the one that was asked for last; the one that was not for longest makes room for it."""
        with self._lock:
            self._drop(known.key)
            self._known[known.key] = known
            for digest in known.contents:
                self._listing[known.origin.name, digest].add(known.root.digest)
            oldest = self._drop(next(iter(self._known))) if len(self._known) > _MOST else None
        if oldest is not None:
            with suppress(OSError):
                self._file(oldest).unlink()

    def _drop(self, key: tuple[str, Digest]) -> Known | None:
        known = self._known.pop(key, None)
        for digest in known.contents if known is not None else ():
            place = key[0], digest
            self._listing[place].discard(key[1])
            if not self._listing[place]:
                del self._listing[place]
        return known

    def _file(self, known: Known) -> Path:
        name = f"{known.origin.name}\0{known.root.digest}".encode()
        return self._folder / f"{hashlib.sha256(name).hexdigest()}.json"

    def _load(self, path: Path) -> None:
        try:
            if path.suffix != ".json" or path.name.startswith(".") or path.stat().st_mtime < time.time() - _FORGOTTEN:
                path.unlink()  # left by a process that was killed, or by a pull long ago
                return
            data = json.loads(read_own(path, _MAX_FILE))
            known = Known(
                origin=Origin(registry=data["registry"], repository=data["repository"]),
                root=Descriptor.from_dict(data["root"]),
                documents=frozenset(map(Digest.parse, data["documents"])),
                blobs=frozenset(map(Digest.parse, data["blobs"])),
                is_evidence=data["evidence"],
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ModelcarError):
            _log.warning("%s is damaged: whoever pulls that image asks for its manifest again", path)
            return
        self._put(known)
