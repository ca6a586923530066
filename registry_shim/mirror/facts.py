"""What is known of upstream repositories, on disk: it survives restarts, and answers while an upstream is gone.

```
ROOT/upstreams/<registry>/repositories/<name>/
    _manifests, _tags, _referrers, _blobs          as in `distribution.repositories`
    _public                                        empty: anybody may read it
    _sizes/<algorithm>/<hex>                       bytes of a blob that no manifest here lists
    _absent/<tag>                                  empty: there is no such signature
    _lists/tags.json, <algorithm>-<hex>.json       tags and referrers as the upstream last listed them
```
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.cache.origin import Origin
from modelcar.errors import DigestMismatch, NotFound, SizeMismatch, StorageError
from modelcar.files import read_own
from modelcar.oci import Descriptor, Digest, compact_json
from modelcar.store.base import Store, write_document
from modelcar.store.disk import atomic_write, make_dirs
from registry_shim.distribution.documents import read_manifest
from registry_shim.distribution.repositories import Repositories, Repository

__all__ = ["Facts", "Kept"]

_MEMORY: Final = 32 << 20  # bytes of manifests that are answered without looking at the disk
_MAX_LIST: Final = 64 << 20
_MAX_SMALL: Final = 64
_log = logging.getLogger("registry_shim.mirror")


@dataclass(frozen=True, slots=True)
class Kept:
    """A manifest that a repository is known to have, and its verified bytes."""

    descriptor: Descriptor
    content: bytes
    subject: Digest | None = None


class Facts:
    """Safe to use from several threads; they read the disk, so not from the event loop (except `remembered`)."""

    def __init__(self, root: Path, store: Store) -> None:
        self._root = root / "upstreams"
        self._store = store
        self._lock = threading.Lock()
        self._registries: dict[str, Repositories] = {}
        self._kept: OrderedDict[tuple[str, Digest], Kept] = OrderedDict()
        self._size = 0

    def repository(self, origin: Origin) -> Repository:
        return self._registry(origin.registry)[origin.repository]

    def places(self) -> dict[str, Repositories]:
        """The repositories of every registry of which anything is known."""
        try:
            names = [entry.name for entry in os.scandir(self._root)]
        except FileNotFoundError:
            return {}
        return {name: self._registry(name) for name in names}

    def _registry(self, name: str) -> Repositories:
        with self._lock:
            known = self._registries.get(name)
            if known is None:
                known = self._registries[name] = Repositories(self._root / name / "repositories")
            return known

    def remembered(self, origin: Origin, digest: Digest) -> Kept | None:
        """What is in memory; never waits."""
        with self._lock:
            kept = self._kept.get((origin.name, digest))
            if kept is not None:
                self._kept.move_to_end((origin.name, digest))
            return kept

    def manifest(self, origin: Origin, digest: Digest) -> Kept | None:
        """A manifest that this repository is known to have, if it is here. What is damaged is not."""
        if (kept := self.remembered(origin, digest)) is not None:
            if digest in self._store:  # it may have been evicted, or revoked
                return kept
            self._forget(origin, digest)
            return None
        try:
            link = self.repository(origin).manifest(digest)
            if link is None:
                return None
            if (size := self._store.size(digest)) != link.descriptor.size:
                raise SizeMismatch(f"it has {size} bytes, not {link.descriptor.size}")
            with self._store.open(digest) as reader:
                content = reader.read()
            digest.check(content, f"what is stored of {origin}")
        except NotFound:
            return None
        except StorageError as e:
            _log.warning("%s: asking for a manifest again: %s", origin, e)
            return None
        except (DigestMismatch, SizeMismatch) as e:
            _log.error("%s is damaged on disk and was removed: %s", digest, e)
            with suppress(NotFound):
                self._store.delete(digest)
            return None
        return self._remember(origin, Kept(link.descriptor, content, link.subject))

    def resolve(self, origin: Origin, tag: str) -> Digest | None:
        """What a tag was when it was last asked for. What is damaged is not known."""
        try:
            return self.repository(origin).resolve(tag)
        except StorageError as e:
            _log.warning("%s: asking for a tag again: %s", origin, e)
            return None

    def keep(self, origin: Origin, content: bytes, media_type: str, digest: Digest) -> Kept:
        """Take a manifest of this repository. Raises `InvalidDocument` if it is not what its media type says."""
        link = read_manifest(content, media_type, digest).link
        write_document(self._store, content, digest)
        self.repository(origin).add_manifest(link)
        return self._remember(origin, Kept(link.descriptor, content, link.subject))

    def is_public(self, origin: Origin) -> bool:
        """Whether anybody could read it when its upstream was last asked."""
        return self._folder(origin, "_public").exists()

    def set_public(self, origin: Origin, *, public: bool) -> None:
        path = self._folder(origin, "_public")
        if public and not path.exists():
            make_dirs(path.parent)
            atomic_write(path, b"")
        elif not public:
            path.unlink(missing_ok=True)

    def is_absent(self, origin: Origin, tag: str) -> bool:
        """Whether the upstream has said that there is no such tag; kept for tags that stand for signatures."""
        return self._folder(origin, "_absent", tag).exists()

    def set_absent(self, origin: Origin, tag: str, *, absent: bool) -> None:
        path = self._folder(origin, "_absent", tag)
        if absent and not path.exists():
            make_dirs(path.parent)
            atomic_write(path, b"")
        elif not absent:
            path.unlink(missing_ok=True)

    def blob_size(self, origin: Origin, digest: Digest) -> int | None:
        """Bytes of a blob that no manifest here lists, as the upstream has said."""
        try:
            text = read_own(self._folder(origin, "_sizes", digest.algorithm, digest.hex), _MAX_SMALL).decode()
        except (OSError, ValueError):
            return None
        return int(text) if text.isascii() and text.isdigit() else None

    def set_blob_size(self, origin: Origin, digest: Digest, size: int) -> None:
        path = self._folder(origin, "_sizes", digest.algorithm, digest.hex)
        make_dirs(path.parent)
        atomic_write(path, str(size).encode())

    def read_list(self, origin: Origin, name: str) -> list[object] | None:
        """A list as the upstream last gave it. What is damaged is not known."""
        with suppress(OSError, ValueError, RecursionError):
            entries = json.loads(read_own(self._folder(origin, "_lists", f"{name}.json"), _MAX_LIST))
            return entries if isinstance(entries, list) else None
        return None

    def write_list(self, origin: Origin, name: str, entries: list[object]) -> None:
        content = compact_json(entries)
        if len(content) <= _MAX_LIST and entries != self.read_list(origin, name):
            path = self._folder(origin, "_lists", f"{name}.json")
            make_dirs(path.parent)
            atomic_write(path, content)

    def _folder(self, origin: Origin, *names: str) -> Path:
        return Path(self._root, origin.registry, "repositories", origin.repository, *names)

    def _remember(self, origin: Origin, kept: Kept) -> Kept:
        with self._lock:
            key = (origin.name, kept.descriptor.digest)
            if key not in self._kept:
                self._kept[key] = kept
                self._size += len(kept.content)
            while self._size > _MEMORY and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1].content)
        return kept

    def _forget(self, origin: Origin, digest: Digest) -> None:
        with self._lock:
            kept = self._kept.pop((origin.name, digest), None)
            self._size -= len(kept.content) if kept else 0
