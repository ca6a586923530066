"""From a REF to the place where the image lies with all that is attached to it."""

from __future__ import annotations

from contextlib import ExitStack

from modelcar.cli.images import existing_local_store
from modelcar.cli.output import Output
from modelcar.images.local import look_up
from modelcar.oci import Descriptor
from modelcar.packaging.fetch import LayoutSource, RangedSource, RegistrySource, StoreSource
from modelcar.packaging.locations import Location, StoredLocation
from modelcar.progress import SILENT, Progress
from modelcar.registry import ClientSettings, Registry
from modelcar.signing.carry import Carried, carry_attachments
from modelcar.signing.places import LayoutPlace, RegistryPlace

__all__ = ["carry_along", "image_source", "open_place", "show_carried"]


def open_place(
    location: Location,
    *,
    remote: bool,
    settings: ClientSettings,
    stack: ExitStack,
    progress: Progress = SILENT,
) -> tuple[RegistryPlace | LayoutPlace, Descriptor]:
    """Where the image is, and what it is there: a layout, else the local store if it has it, else the registry.

    Args:
        remote: pass the local store over.
        stack: keeps what was opened open.
        progress: is told of transfers from the registry.
    """
    if isinstance(location, StoredLocation):
        source = LayoutSource(location)
        return LayoutPlace(source.layout), source.resolve()
    if not remote and (store := existing_local_store()) is not None:
        stack.enter_context(store.session())
        if (root := look_up(store, location)) is not None:
            return LayoutPlace(store.content, location.name), root
    registry = stack.enter_context(Registry(settings, progress))
    return RegistryPlace(registry, location), registry.resolve(location)


def image_source(place: RegistryPlace | LayoutPlace, root: Descriptor) -> RangedSource:
    """Reads exactly the image `root` at `place`, wherever a tag has moved since."""
    if isinstance(place, LayoutPlace):
        return StoreSource(place.layout, root)
    return RegistrySource(place.at(root.digest), place.registry)


def carry_along(
    source: RegistryPlace | LayoutPlace, target: RegistryPlace | LayoutPlace, root: Descriptor, output: Output
) -> int:
    """Take along what is attached to an image that was just copied; returns how many attachments that are."""
    return show_carried(carry_attachments(source, target, root), output)


def show_carried(carried: Carried, output: Output) -> int:
    """Say what came along and what did not; returns how many attachments came along."""
    for line in carried.skipped:
        output.aside(f"left behind: {line}")
    if carried.count:
        output.aside(f"{carried.count} signatures, attestations or other attachments came along")
    return carried.count
