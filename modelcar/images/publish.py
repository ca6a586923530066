"""From a layout to a registry: the image with all that is attached to it, and its ModelPack twin, the tags last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from modelcar.errors import InvalidReference, UsageError
from modelcar.oci import Descriptor, Index, Manifest, Reference
from modelcar.oci.reference import DEFAULT_REGISTRY, is_tag
from modelcar.packaging.annotations import ADAPTER_BASE_NAME, KIND, MODELPACK
from modelcar.packaging.fetch import StoreSource
from modelcar.packaging.labels import image_labels
from modelcar.registry import Registry
from modelcar.registry.cancel import run_parallel
from modelcar.signing.carry import Carried, carry_attachments
from modelcar.signing.places import LayoutPlace, RegistryPlace
from modelcar.store import Layout, read_document
from modelcar.store.layout import OciLayout
from modelcar.store.tree import is_document, load, walk

__all__ = ["find_twin", "mount_repositories", "publish_image", "twin_tag"]

_SUFFIX: Final = "-modelpack"
_COPIES_AT_ONCE: Final = 4


def publish_image(
    registry: Registry, content: Layout, root: Descriptor, ref: Reference, *, mount_from: Sequence[str] = ()
) -> Carried:
    """Push the image `root` and all that is attached to it to `ref`, and tag its ModelPack twin, if it has one.

    What the registry has in one of the repositories `mount_from`, or in that of the image that this is an adapter of,
    is mounted. Layers that are not on this machine, but known to be in a repository, come from there: by a mount, or
    from registry to registry, and nothing of them stays here.

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
    mount_from = list(dict.fromkeys((*mount_from, *_repository_of_base(document, ref))))
    _send_from_elsewhere(registry, content, root, ref, mount_from)
    registry.push(content, root, replace(ref, tag=None, digest=ref.digest or root.digest), mount_from=mount_from)
    carried = carry_attachments(LayoutPlace(content), RegistryPlace(registry, ref), root)
    for tag, image in reversed(tags.items()):
        registry.put_manifest(ref.with_tag(tag), read_document(content, image), image.media_type)
    return carried


def mount_repositories(names: Sequence[str], ref: Reference) -> tuple[str, ...]:
    """Repositories of the registry of `ref`, by what people type: with the registry or without.

    Raises:
        InvalidReference: one is no name.
        UsageError: one is in another registry, and layers are mounted within one.
    """
    return tuple(_repository(name, ref) for name in names)


def _repository(name: str, ref: Reference) -> str:
    parsed = Reference.parse(name)
    if parsed.registry == ref.registry:
        return parsed.repository
    if parsed.registry != DEFAULT_REGISTRY or name.startswith(f"{DEFAULT_REGISTRY}/"):
        raise UsageError(
            f"layers are mounted within one registry, and {name} is not in {ref.registry}",
            hint="`modelcar copy` copies between registries",
        )
    return Reference.parse(f"{ref.registry}/{name}").repository


def _repository_of_base(document: Manifest | Index, ref: Reference) -> tuple[str, ...]:
    """Of the image that this is an adapter of, if that is in the registry of `ref`, too."""
    name = document.annotations.get(ADAPTER_BASE_NAME)
    if name is None:
        return ()
    try:
        base = Reference.parse(name)
    except InvalidReference:  # somebody else's words
        return ()
    return (base.repository,) if base.registry == ref.registry and base.name != ref.name else ()


def _send_from_elsewhere(
    registry: Registry, content: Layout, root: Descriptor, ref: Reference, mount_from: Sequence[str]
) -> None:
    if not isinstance(content, OciLayout):
        return
    places: list[tuple[Descriptor, Reference]] = []
    for blob in walk(content, root):
        if is_document(blob) or blob.digest in content or (place := content.elsewhere(blob.digest)) is None:
            continue
        if not registry.has_blob(ref, blob.digest, blob.size):
            places.append((blob, Reference.parse(place)))
    labels = image_labels(StoreSource(content, root), root) if places else {}
    registry.preflight(ref, {labels.get(b.digest, b.digest.short): b.size for b, _ in places}).require()
    copy = partial(registry.copy_blob, mount_from=mount_from)
    jobs = [partial(copy, place, ref, blob) for blob, place in places if place.name != ref.name]
    run_parallel(jobs, _COPIES_AT_ONCE)


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
