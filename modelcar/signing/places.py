"""Where an image lies together with what is attached to it: a repository of a registry, or an OCI layout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

from modelcar.errors import InvalidDocument, NotFound, RemoteNotFound
from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.oci import Descriptor, Digest, Index, Manifest, Reference
from modelcar.registry import Registry
from modelcar.store import Layout, read_document, write_document
from modelcar.store.attachments import Attachments
from modelcar.store.tree import is_document, load

__all__ = ["LayoutPlace", "Place", "RegistryPlace", "documents"]

_MAX_DOCUMENTS: Final = 1000  # manifests of one image
_MAX_NESTING: Final = 8


class Place(Protocol):
    """Reads are checked against their descriptors; nothing is trusted beyond that."""

    @property
    def repository(self) -> str:
        """`registry/repository` for payloads that name it; empty where nobody knows."""

    def document(self, descriptor: Descriptor) -> Manifest | Index:
        """A manifest or index that lies here. Raises `NotFound`, `RemoteNotFound` or `InvalidContent`."""

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """A blob of at most `limit` bytes. Raises as `document`."""

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """What is listed as referring to `subject`, of any kind, whoever put it there."""

    def tagged(self, tag: str) -> Manifest | None:
        """The image under a tag such as `sha256-<hex>.sig`, if there is one."""

    def put_blob(self, media_type: str, content: bytes) -> Descriptor:
        """Write a small blob; returns its descriptor."""

    def attach(self, manifest: Manifest) -> None:
        """Publish a manifest that has a subject and whose blobs are here."""

    def tag(self, tag: str, subject: Digest, image: Manifest, *, replaces: Digest | None) -> bool:
        """Publish `image` under `tag`, unless something other than `replaces` lies there now; whether it did."""


@dataclass(frozen=True)
class RegistryPlace:
    """A repository; `ref` is any reference into it."""

    registry: Registry
    ref: Reference

    @property
    def repository(self) -> str:
        return self.ref.name

    def document(self, descriptor: Descriptor) -> Manifest | Index:
        return self.registry.manifest(self.ref, descriptor)

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        _check_size(descriptor, limit)
        with self.registry.open_blob(self.ref, descriptor) as stream:
            pieces = []
            while piece := stream.read(1 << 20):
                pieces.append(piece)
        return b"".join(pieces)

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        return self.registry.referrers(self.ref, subject).manifests

    def tagged(self, tag: str) -> Manifest | None:
        try:
            found = self.registry.manifest(self.ref.with_tag(tag))
        except RemoteNotFound:
            return None
        return found if isinstance(found, Manifest) else None

    def put_blob(self, media_type: str, content: bytes) -> Descriptor:
        descriptor = Descriptor.of(media_type, content)
        self.registry.upload_blob(self.ref, descriptor, ByteMap([Literal(content)]))
        return descriptor

    def attach(self, manifest: Manifest) -> None:
        self.registry.put_manifest(self.at(manifest.digest), manifest.content, manifest.media_type)

    def tag(self, tag: str, subject: Digest, image: Manifest, *, replaces: Digest | None) -> bool:  # noqa: ARG002  # registries know no such condition
        """Registries know no condition on a write: whoever reads it back sees who came last."""
        self.registry.put_manifest(self.ref.with_tag(tag), image.content, image.media_type)
        written = self.tagged(tag)
        return written is not None and written.digest == image.digest

    def at(self, digest: Digest) -> Reference:
        """The manifest of this digest in this repository."""
        return replace(self.ref, tag=None, digest=digest)


@dataclass(frozen=True)
class LayoutPlace:
    """An OCI layout on this machine: the user's own store, another folder, or an archive, which is never written to."""

    layout: Layout
    repository: str = ""

    @property
    def attachments(self) -> Attachments:
        return Attachments(self.layout)

    def document(self, descriptor: Descriptor) -> Manifest | Index:
        return load(self.layout, descriptor)

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        _check_size(descriptor, limit)
        return read_document(self.layout, descriptor)

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        return self.attachments.referrers(subject)

    def tagged(self, tag: str) -> Manifest | None:
        descriptor = self.attachments.tagged(tag)
        found = load(self.layout, descriptor) if descriptor is not None else None
        return found if isinstance(found, Manifest) else None

    def put_blob(self, media_type: str, content: bytes) -> Descriptor:
        write_document(self.layout, content)
        return Descriptor.of(media_type, content)

    def attach(self, manifest: Manifest) -> None:
        if manifest.subject is None:
            raise ValueError("what is attached needs a subject")
        write_document(self.layout, manifest.content, manifest.digest)
        entry = replace(manifest.descriptor, artifact_type=manifest.artifact_type)
        self.attachments.add(manifest.subject.digest, entry)

    def tag(self, tag: str, subject: Digest, image: Manifest, *, replaces: Digest | None) -> bool:
        write_document(self.layout, image.content, image.digest)
        return self.attachments.put(tag, subject, image.descriptor, replaces=replaces)


def documents(place: Place, root: Descriptor) -> list[Descriptor]:
    """The manifests and indexes that an image consists of, children first, `root` last.

    Those that an index lists and that are not here are left out: an image may have been copied for one platform.
    """
    found: dict[Digest, Descriptor] = {}

    def visit(descriptor: Descriptor, depth: int) -> None:
        if depth > _MAX_NESTING or len(found) >= _MAX_DOCUMENTS:
            raise InvalidDocument(f"{root.digest} is nested too deeply, or lists too many manifests")
        document = place.document(descriptor)
        if isinstance(document, Index):
            for child in document.manifests:
                if is_document(child) and child.digest not in found:
                    try:
                        visit(child, depth + 1)
                    except (NotFound, RemoteNotFound):
                        continue
        found[descriptor.digest] = descriptor.plain()

    visit(root, 0)
    return list(found.values())


def _check_size(descriptor: Descriptor, limit: int) -> None:
    if descriptor.size > limit:
        raise InvalidDocument(f"{descriptor.digest} has {descriptor.size} bytes, more than the {limit} that are read")
