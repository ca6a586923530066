"""All that an image consists of: its manifests, children before parents, and the blobs that those list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from modelcar.errors import InvalidDocument, SizeMismatch
from modelcar.oci import Descriptor, Digest, Index, Manifest
from modelcar.oci.validate import MAX_NESTING
from modelcar.store.tree import is_document

__all__ = ["Tree", "collect"]

_MAX_MANIFESTS = 10_000


@dataclass(slots=True)
class Tree:
    """`documents` has children before parents, the root last; `blobs` each digest once, as first mentioned."""

    documents: list[tuple[Digest, Manifest | Index]] = field(default_factory=list)
    blobs: dict[Digest, Descriptor] = field(default_factory=dict)


def collect(root: Manifest | Index, digest: Digest, read: Callable[[Descriptor], Manifest | Index]) -> Tree:
    """Everything that `root`, whose digest is `digest`, reaches; `read` gets a child, verified against its descriptor.

    Raises:
        InvalidContent: it contradicts itself, or is nested beyond reason.
    """
    tree = Tree()
    _walk(tree, root, digest, read, 0, set())
    return tree


def _walk(
    tree: Tree,
    document: Manifest | Index,
    digest: Digest,
    read: Callable[[Descriptor], Manifest | Index],
    depth: int,
    seen: set[Digest],
) -> None:
    if depth > MAX_NESTING or len(seen) > _MAX_MANIFESTS:
        raise InvalidDocument(f"{digest} is nested too deeply, or lists too many manifests")
    if isinstance(document, Manifest):
        for blob in document.blobs:
            _add(tree, blob)
    else:
        for child in document.manifests:
            if not is_document(child):
                _add(tree, child)
            elif child.digest not in seen:
                seen.add(child.digest)
                _walk(tree, read(child), child.digest, read, depth + 1, seen)
    tree.documents.append((digest, document))


def _add(tree: Tree, blob: Descriptor) -> None:
    known = tree.blobs.setdefault(blob.digest, blob)
    if known.size != blob.size:
        raise SizeMismatch(f"{blob.digest} has {known.size} bytes in one place and {blob.size} in another")
