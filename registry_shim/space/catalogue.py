"""Which images are on a node: what the mirror knows of upstreams, grouped into what belongs together."""

from __future__ import annotations

import re
import stat
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

from modelcar.errors import InvalidContent, InvalidDigest, StorageError
from modelcar.files import read_own
from modelcar.oci import Digest, Index, parse_manifest
from modelcar.oci.document import MAX_DOCUMENT
from modelcar.store.disk import explain
from registry_shim.distribution.repositories import Repositories, Repository
from registry_shim.space.evict import Image

__all__ = ["Catalogue", "Places", "read_blob"]

Places = Callable[[], Mapping[str, Repositories]]
"""The repositories that are known of each upstream registry."""

_ATTACHED: Final = re.compile(r"(sha256|sha512)-([0-9a-f]{64}|[0-9a-f]{128})(\.[a-z]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """A manifest or index, as far as space goes."""

    children: tuple[Digest, ...] = ()
    platforms: Mapping[Digest, bool] = field(default_factory=dict)
    """For an index: whether a child is for a platform that machines have."""
    blobs: Mapping[Digest, int] = field(default_factory=dict)
    """With their sizes in bytes."""
    subject: Digest | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    registry: str
    repository: str


class _Known:
    """What all repositories say, merged: the same digest in two of them is one thing."""

    def __init__(self) -> None:
        self.documents: dict[Digest, _Document] = {}
        self.places: dict[Digest, set[_Place]] = defaultdict(set)
        self.names: dict[Digest, list[str]] = defaultdict(list)
        self.attached: dict[Digest, set[Digest]] = defaultdict(set)
        """By subject: signatures, attestations and lists of them, whichever way they name it."""


class Catalogue:
    """Images by the documents that are here. For one thread at a time."""

    def __init__(self, places: Places, read: Callable[[Digest], bytes | None]) -> None:
        """`read` returns a document's bytes, or `None` if it is not here."""
        self._places = places
        self._read = read
        self._parsed: dict[Digest, _Document | None] = {}  # never changes for a digest
        self._known = _Known()

    def images(self) -> list[Image]:
        """As the disk has it now. Raises `StorageError`."""
        self._known = known = self._look()
        parents = {child for document in known.documents.values() for child in document.children}
        parents |= {a for subject, attached in known.attached.items() if subject in known.documents for a in attached}
        roots = [digest for digest in known.documents if digest not in parents]
        images, seen = [], set[Digest]()
        for digest in chain(roots, known.documents):  # then what no root leads to: tags can claim to sign each other
            if digest not in seen:
                image = _image(digest, known)
                seen.update(image.documents)
                images.append(image)
        return images

    def tag(self, name: str) -> Digest | None:
        """What `registry/repository:tag` was last known to be."""
        registry, _, rest = name.partition("/")
        repository, _, tag = rest.rpartition(":")
        repositories = self._places().get(registry)
        return repositories[repository].resolve(tag) if repositories and repository and tag else None

    def forget(self, digest: Digest) -> None:
        """Remove a document's tags and links, wherever it is known. Raises `StorageError`."""
        for repository in self._repositories(digest):
            with repository.changing():
                repository.remove_manifest(digest)

    def forget_blobs(self, image: Image, blobs: Iterable[Digest]) -> None:
        """Remove blobs from the repositories that `image` is known in. Raises `StorageError`."""
        repositories = [r for document in image.documents for r in self._repositories(document)]
        for blob in blobs:
            for repository in repositories:
                repository.unlink_blob(blob)

    def _repositories(self, digest: Digest) -> Iterator[Repository]:
        places = self._places()
        for place in sorted(self._known.places.get(digest, ()), key=lambda p: (p.registry, p.repository)):
            if place.registry in places:
                yield places[place.registry][place.repository]

    def _look(self) -> _Known:
        known = _Known()
        tags: list[tuple[_Place, str, Digest]] = []
        for registry, repositories in self._places().items():
            for name in repositories.names():
                repository, place = repositories[name], _Place(registry, name)
                for digest in repository.manifests():
                    document = self._document(digest)
                    if document is not None:
                        known.documents[digest] = document
                        known.places[digest].add(place)
                with suppress(StorageError):  # a damaged tag names nothing
                    tags += [(place, tag, d) for tag in repository.tags() if (d := repository.resolve(tag))]
        for place, tag, digest in tags:
            if digest in known.documents:
                self._place_tag(known, place, tag, digest)
        for digest, document in known.documents.items():
            if document.subject is not None:
                known.attached[document.subject].add(digest)
        return known

    def _place_tag(self, known: _Known, place: _Place, tag: str, digest: Digest) -> None:
        match = _ATTACHED.fullmatch(tag)
        subject = None
        if match:
            with suppress(InvalidDigest):
                subject = Digest(match[1], match[2])
        if subject in known.documents and subject != digest:
            known.attached[subject].add(digest)
        else:
            known.names[digest].append(f"{place.registry}/{place.repository}:{tag}")

    def _document(self, digest: Digest) -> _Document | None:
        if digest not in self._parsed:
            raw = self._read(digest)
            if raw is None:
                return None  # it may come yet
            with suppress(InvalidContent):
                self._parsed[digest] = _parse(raw)
        return self._parsed.setdefault(digest, None)


def read_blob(root: Path) -> Callable[[Digest], bytes | None]:
    """Reads documents out of the blobs under `root`. What is too large to be one is none."""

    def read(digest: Digest) -> bytes | None:
        path = root / "blobs" / digest.algorithm / digest.hex
        try:
            status = path.stat()
            is_one = stat.S_ISREG(status.st_mode) and status.st_size <= MAX_DOCUMENT
            return read_own(path, MAX_DOCUMENT) if is_one else None
        except FileNotFoundError:
            return None
        except OSError as e:
            raise explain(e, f"cannot read {path}") from None

    return read


def _parse(raw: bytes) -> _Document:
    document = parse_manifest(raw)
    subject = document.subject.digest if document.subject else None
    if isinstance(document, Index):
        children = document.manifests
        real = {c.digest: c.platform is None or c.platform.os != "unknown" for c in children}
        return _Document(children=tuple(c.digest for c in children), platforms=real, subject=subject)
    return _Document(blobs={b.digest: b.size for b in document.blobs}, subject=subject)


def _image(root: Digest, known: _Known) -> Image:
    documents = _reach([root], lambda d: known.documents[d].children, known)
    own = len(documents)
    documents = _reach(
        documents, lambda d: (*sorted(known.attached.get(d, ()), key=str), *known.documents[d].children), known
    )
    names = [name for digest in documents[:own] for name in sorted(known.names.get(digest, ()))]
    places = sorted((p.registry, p.repository) for p in known.places[root])
    sizes = {b: size for d in documents for b, size in known.documents[d].blobs.items()}
    return Image(
        root=root,
        names=tuple(names) or tuple(f"{registry}/{repository}@{root}" for registry, repository in places),
        documents=tuple(documents),
        blobs=tuple(sizes),
        sizes=sizes,
        variants=_variants(documents[:own], known),
    )


def _reach(start: list[Digest], step: Callable[[Digest], Iterable[Digest]], known: _Known) -> list[Digest]:
    """The documents that are here and that steps lead to, the nearest first."""
    reached = dict.fromkeys(start)
    waiting = deque(start)
    while waiting:
        for digest in step(waiting.popleft()):
            if digest in known.documents and digest not in reached:
                reached[digest] = None
                waiting.append(digest)
    return list(reached)


def _variants(documents: list[Digest], known: _Known) -> tuple[frozenset[Digest], ...]:
    """What machines run; if there is nothing of that, all that there is."""
    strange = {c for d in documents for c, real in known.documents[d].platforms.items() if not real}
    manifests = [d for d in documents if not known.documents[d].children]
    chosen = [d for d in manifests if d not in strange] or manifests
    return tuple(frozenset(known.documents[d].blobs) for d in chosen)
