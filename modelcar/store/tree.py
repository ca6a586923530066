"""Images as trees: an index names manifests, a manifest names a config and layers."""

from __future__ import annotations

from collections.abc import Iterator

from modelcar.errors import InvalidDocument
from modelcar.oci import Descriptor, Digest, Index, Manifest, media_types, parse_manifest
from modelcar.oci.validate import MAX_NESTING
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
    seen: set[tuple[Digest, bool]] = set()  # a document may also be listed as a mere blob
    yielded: set[Digest] = set()

    def visit(descriptor: Descriptor, depth: int) -> Iterator[Descriptor]:
        key = (descriptor.digest, is_document(descriptor))
        if key in seen:
            return
        seen.add(key)
        if is_document(descriptor):
            if depth > MAX_NESTING + 1:
                raise InvalidDocument(f"{root.digest}: indexes are nested more than {MAX_NESTING} deep")
            for child in children(load(store, descriptor)):
                yield from visit(child, depth + 1)
        if descriptor.digest not in yielded:
            yielded.add(descriptor.digest)
            yield descriptor

    yield from visit(root, 0)
