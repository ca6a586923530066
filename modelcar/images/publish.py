"""From a layout to a registry: the image with all that is attached to it, and its ModelPack twin, the tags last."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from modelcar.errors import InvalidReference
from modelcar.oci import Descriptor, Index, Manifest, Reference
from modelcar.oci.reference import is_tag
from modelcar.packaging.annotations import KIND, MODELPACK
from modelcar.registry import Registry
from modelcar.signing.carry import Carried, carry_attachments
from modelcar.signing.places import LayoutPlace, RegistryPlace
from modelcar.store import Layout, read_document
from modelcar.store.tree import load

__all__ = ["find_twin", "publish_image", "twin_tag"]

_SUFFIX: Final = "-modelpack"


def publish_image(registry: Registry, content: Layout, root: Descriptor, ref: Reference) -> Carried:
    """Push the image `root` and all that is attached to it to `ref`, and tag its ModelPack twin, if it has one.

    The tags are written last, so that nobody who asks for one meets an image whose signatures are still on their way.

    Raises:
        UsageError: `ref` has a digest, and it is not the image's.
        InvalidReference: the twin's tag would be too long; nothing is sent.
        WorldError: a file that the image refers to has changed, or the registry refuses.
    """
    document = load(content, root)
    tags = {ref.tag: root} if ref.tag is not None else {}
    twin = find_twin(document)
    if twin is not None and ref.tag is not None:
        tags[twin_tag(ref.tag)] = twin
    registry.push(content, root, replace(ref, tag=None, digest=ref.digest or root.digest))
    carried = carry_attachments(LayoutPlace(content), RegistryPlace(registry, ref), root)
    for tag, image in reversed(tags.items()):
        registry.put_manifest(ref.with_tag(tag), read_document(content, image), image.media_type)
    return carried


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
