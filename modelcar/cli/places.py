"""From a REF to the place where the image lies with all that is attached to it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from modelcar.cli.options import open_local_store
from modelcar.cli.output import Output
from modelcar.oci import Descriptor, Reference
from modelcar.packaging.fetch import ImageSource, RegistrySource, StoreSource
from modelcar.packaging.locations import LayoutLocation, Location
from modelcar.registry import ClientSettings, Registry
from modelcar.signing.carry import carry_attachments
from modelcar.signing.places import LayoutPlace, RegistryPlace
from modelcar.store import LocalStore, Names, OciLayout, read_document

__all__ = ["carry_along", "find_local", "image_source", "open_place", "publish"]


def open_place(
    location: Location, *, remote: bool, settings: ClientSettings, stack: ExitStack
) -> tuple[RegistryPlace | LayoutPlace, Descriptor]:
    """Where the image is, and what it is there: a layout, else the local store if it has it, else the registry.

    Args:
        remote: pass the local store over.
        stack: keeps what was opened open.
    """
    if isinstance(location, LayoutLocation):
        layout = OciLayout(location.folder, create=False)
        names = Names(layout)
        return LayoutPlace(layout), names.get(location.name) if location.name else names.only()
    if not remote:
        store = open_local_store()
        stack.enter_context(store.session())
        if (root := find_local(store, location)) is not None:
            return LayoutPlace(store.content, location.name), root
    registry = stack.enter_context(Registry(settings))
    return RegistryPlace(registry, location), registry.resolve(location)


def image_source(place: RegistryPlace | LayoutPlace, root: Descriptor) -> ImageSource:
    """Reads exactly the image `root` at `place`, wherever a tag has moved since."""
    if isinstance(place, LayoutPlace):
        return StoreSource(place.layout, root)
    return RegistrySource(place.at(root.digest), place.registry)


def find_local(store: LocalStore, ref: Reference) -> Descriptor | None:
    """What `ref` is in the local store, by its tag or, without one, by its digest in the same repository."""
    for name, root in store.names.list().items():
        named = Reference.parse(name)
        if named.name == ref.name and ref.tag in (None, named.tag) and ref.digest in (None, root.digest):
            return root
    return None


def carry_along(
    source: RegistryPlace | LayoutPlace, target: RegistryPlace | LayoutPlace, root: Descriptor, output: Output
) -> int:
    """Take along what is attached to an image that was just copied; returns how many attachments that are."""
    carried = carry_attachments(source, target, root)
    for line in carried.skipped:
        output.aside(f"left behind: {line}")
    if carried.count:
        output.aside(f"{carried.count} signatures, attestations or other attachments came along")
    return carried.count


def publish(content: OciLayout, images: Mapping[Reference, Descriptor], registry: Registry, output: Output) -> int:
    """Push images with all that is attached to them; returns how many attachments that are.

    The tags are written last, so that nobody who asks for one meets an image whose signatures are still on their way.

    Args:
        images: the image; after it, under other tags, manifests that are part of it.
    """
    for target, image in images.items():
        registry.push(content, image, RegistryPlace(registry, target).at(target.digest or image.digest))
    target, root = next(iter(images.items()))
    attached = carry_along(LayoutPlace(content), RegistryPlace(registry, target), root, output)
    for target, image in images.items():
        if target.tag is not None:
            registry.put_manifest(target, read_document(content, image), image.media_type)
    return attached
