"""From a store to a registry: the image under its tag, and its ModelPack twin under a tag of its own."""

from __future__ import annotations

from typing import Final

from modelcar.errors import InvalidReference
from modelcar.oci import Descriptor, Index, Manifest, Reference
from modelcar.oci.reference import is_tag
from modelcar.packaging.annotations import KIND, MODELPACK
from modelcar.registry import Registry
from modelcar.store.base import Store, read_document
from modelcar.store.tree import load

__all__ = ["find_twin", "publish_image", "twin_tag"]

_SUFFIX: Final = "-modelpack"


def publish_image(registry: Registry, store: Store, root: Descriptor, ref: Reference) -> None:
    """Push the image `root` to `ref`, and tag its ModelPack twin, if it has one.

    Raises:
        InvalidReference: the twin's tag would be too long; nothing is sent.
        WorldError: a file that the image refers to has changed, or the registry refuses.
    """
    twin = find_twin(load(store, root))
    place = ref.with_tag(twin_tag(ref.tag)) if twin is not None and ref.tag is not None else None
    registry.push(store, root, ref)
    if twin is not None and place is not None:
        registry.put_manifest(place, read_document(store, twin), twin.media_type)


def find_twin(document: Manifest | Index) -> Descriptor | None:
    """The ModelPack manifest in an index that modelcar made; `None` in all other documents."""
    entries = document.manifests if isinstance(document, Index) else ()
    return next((e.plain() for e in entries if e.annotations.get(KIND) == MODELPACK), None)


def twin_tag(tag: str) -> str:
    """The tag of the ModelPack twin of the image `tag`: tools for ModelPack expect a manifest there and no index.

    Raises:
        InvalidReference: it would be too long for a tag.
    """
    twin = f"{tag}{_SUFFIX}"
    if not is_tag(twin):
        raise InvalidReference(
            f"the tag {tag} is too long", hint=f"{_SUFFIX} is added to it; 128 characters is the limit"
        )
    return twin
