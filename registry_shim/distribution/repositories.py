"""Which repository holds what: names and links beside the content store, one small file each.

```
repositories/<name>/_blobs/<algorithm>/<hex>               empty: this blob may be pulled from here
repositories/<name>/_manifests/<algorithm>/<hex>           JSON: the manifest's descriptor and its subject
repositories/<name>/_referrers/<algorithm>/<hex>/<digest>  empty: that manifest names this subject
repositories/<name>/_tags/<tag>                            the digest of a manifest
```

No component of a repository's name begins with `_`, so names and contents cannot collide. A file is complete or not
there, and is written only after what it points to: content, referrer, manifest, tag. So a killed server leaves at most
something that nothing points to.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.cache.stored import digests_in, names_in
from modelcar.errors import InvalidContent, InvalidDigest, StorageError
from modelcar.files import read_own
from modelcar.oci import Descriptor, Digest, compact_json
from modelcar.oci.reference import is_repository, is_tag
from modelcar.store.disk import atomic_write, explain, fsync_dir

__all__ = ["ManifestLink", "Repositories", "Repository"]

_DAMAGED: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_MAX_LINK: Final = 8 << 20  # bytes; annotations of a descriptor may be long


@dataclass(frozen=True, slots=True)
class ManifestLink:
    """A manifest as a repository knows it: the descriptor that `referrers` shows, and what it refers to."""

    descriptor: Descriptor
    subject: Digest | None = None

    @classmethod
    def from_bytes(cls, raw: bytes) -> ManifestLink:
        data = json.loads(raw)
        subject = data.get("subject")
        return cls(Descriptor.from_dict(data["descriptor"]), Digest.parse(subject) if subject else None)

    def to_bytes(self) -> bytes:
        data: dict[str, object] = {"descriptor": self.descriptor.to_dict()}
        if self.subject is not None:
            data["subject"] = str(self.subject)
        return compact_json(data)


class Repositories:
    """All repositories under one folder. Threads may share it; processes may not."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._locks = [threading.Lock() for _ in range(64)]

    def __getitem__(self, name: str) -> Repository:
        """The repository of that (valid) name, which need not exist yet."""
        if not is_repository(name):
            raise ValueError(name)
        return Repository(self.root / name, self._locks[hash(name) % len(self._locks)])

    def names(self) -> list[str]:
        """Names of the repositories that hold a manifest, in no particular order."""
        found = []
        for folder, children, _ in os.walk(self.root):
            if "_manifests" in children and next(Repository(Path(folder), self._locks[0]).manifests(), None):
                found.append(Path(folder).relative_to(self.root).as_posix())
            children[:] = [child for child in children if not child.startswith(("_", "."))]
        return found


class Repository:
    """One repository. Single changes are atomic; a change that depends on a look first holds `changing`."""

    def __init__(self, root: Path, lock: threading.Lock) -> None:
        self._root = root
        self._lock = lock

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep every other change of this repository out."""
        with self._lock:
            yield

    def exists(self) -> bool:
        return any((self._root / kind).is_dir() for kind in ("_blobs", "_manifests"))

    # Blobs

    def has_blob(self, digest: Digest) -> bool:
        return _under(self._root / "_blobs", digest).exists()

    def link_blob(self, digest: Digest) -> None:
        _touch(_under(self._root / "_blobs", digest))

    def unlink_blob(self, digest: Digest) -> bool:
        return _remove(_under(self._root / "_blobs", digest))

    # Manifests

    def manifest(self, digest: Digest) -> ManifestLink | None:
        path = _under(self._root / "_manifests", digest)
        try:
            return ManifestLink.from_bytes(read_own(path, _MAX_LINK))
        except FileNotFoundError:
            return None
        except (OSError, *_DAMAGED, InvalidContent, InvalidDigest) as e:
            raise StorageError(f"{path} is damaged: {e}") from None

    def has_manifest(self, digest: Digest) -> bool:
        return _under(self._root / "_manifests", digest).exists()

    def manifests(self) -> Iterator[Digest]:
        return _digests(self._root / "_manifests")

    def add_manifest(self, link: ManifestLink) -> None:
        digest = link.descriptor.digest
        if link.subject is not None:
            _touch(_under(self._root / "_referrers", link.subject) / f"{digest.algorithm}-{digest.hex}")
        _write(_under(self._root / "_manifests", digest), link.to_bytes())

    def remove_manifest(self, digest: Digest) -> bool:
        """Remove a manifest and every tag that points to it."""
        link = self.manifest(digest)
        if link is None:
            return False
        for tag in self.tags():
            if self.resolve(tag) == digest:
                self.remove_tag(tag)
        _remove(_under(self._root / "_manifests", digest))
        if link.subject is not None:
            _remove(_under(self._root / "_referrers", link.subject) / f"{digest.algorithm}-{digest.hex}")
        return True

    def referrers(self, subject: Digest) -> list[Descriptor]:
        """Descriptors of the manifests whose subject this is, ordered by digest."""
        found = []
        for name in _names(_under(self._root / "_referrers", subject)):
            with suppress(InvalidDigest):
                link = self.manifest(Digest(*name.split("-", 1)))
                if link is not None and link.subject == subject:
                    found.append(link.descriptor)
        return sorted(found, key=lambda descriptor: str(descriptor.digest))

    # Tags

    def tags(self) -> list[str]:
        """In no particular order."""
        return [name for name in _names(self._root / "_tags") if is_tag(name)]

    def resolve(self, tag: str) -> Digest | None:
        try:
            return Digest.parse(read_own(self._root / "_tags" / tag, _MAX_LINK).decode())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, InvalidDigest) as e:
            raise StorageError(f"{self._root / '_tags' / tag} is damaged: {e}") from None

    def set_tag(self, tag: str, digest: Digest) -> None:
        """Point `tag` at a manifest that is here."""
        _write(self._root / "_tags" / tag, str(digest).encode())

    def remove_tag(self, tag: str) -> bool:
        return _remove(self._root / "_tags" / tag)


def _under(folder: Path, digest: Digest) -> Path:
    return folder / digest.algorithm / digest.hex


def _names(folder: Path) -> list[str]:
    with _readable(folder):
        return names_in(folder)


def _digests(folder: Path) -> Iterator[Digest]:
    with _readable(folder):
        yield from digests_in(folder)


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise explain(e, f"cannot read {e.filename or folder}") from None


def _make_parents(path: Path) -> None:
    """Create the folders above `path` and make their names durable."""
    missing = []
    folder = path.parent
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        fsync_dir(folder.parent)


def _write(path: Path, content: bytes) -> None:
    try:
        _make_parents(path)
    except OSError as e:
        raise explain(e, f"cannot write {path}") from None
    atomic_write(path, content)


def _touch(path: Path) -> None:
    """Create an empty file: atomic as it is, so that no temporary one is needed."""
    if path.exists():
        return
    try:
        _make_parents(path)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        fsync_dir(path.parent)
    except OSError as e:
        raise explain(e, f"cannot write {path}") from None


def _remove(path: Path) -> bool:
    try:
        path.unlink()
        fsync_dir(path.parent)
    except FileNotFoundError:
        return False
    except OSError as e:
        raise explain(e, f"cannot remove {path}") from None
    return True
