"""Images as trees: an index names manifests, a manifest names a config and layers."""

from __future__ import annotations

from collections.abc import Iterator

from modelcar.oci import Descriptor, Digest, Index, Manifest, media_types, parse_manifest
from modelcar.store.base import Store, read_document

__all__ = ["children", "is_document", "load", "walk"]


def is_document(descriptor: Descriptor) -> bool:
    """Whether this is a manifest or an index and so has children."""
    return descriptor.media_type in media_types.INDEXES | media_types.MANIFESTS


def load(store: Store, descriptor: Descriptor) -> Manifest | Index:
    """Read and parse a manifest or index, its bytes checked against the descriptor.

    Raises:
        NotFound: it is not in the store.
        InvalidContent: it is damaged or not what the descriptor says.
    """
    return parse_manifest(read_document(store, descriptor), descriptor.media_type)


def children(document: Manifest | Index) -> tuple[Descriptor, ...]:
    """What a document needs to be complete: an index's manifests, a manifest's config and layers."""
    return document.manifests if isinstance(document, Index) else document.blobs


def walk(store: Store, root: Descriptor) -> Iterator[Descriptor]:
    """Everything reachable from `root`, each digest once, children before the documents that name them.

    That is the order in which to send them: at no moment does a document name what is not there yet.
    """
    seen: set[Digest] = set()

    def visit(descriptor: Descriptor) -> Iterator[Descriptor]:
        if descriptor.digest in seen:
            return
        seen.add(descriptor.digest)
        if is_document(descriptor):
            for child in children(load(store, descriptor)):
                yield from visit(child)
        yield descriptor

    yield from visit(root)
