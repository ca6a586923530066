"""What an image shall run, by name: our holder, nothing, or what somebody else's image runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from modelcar.oci import Descriptor, Manifest, Platform
from modelcar.packaging.base import DEFAULT_PLATFORMS, Base, foreign_bases, holder_base, scratch_base
from modelcar.packaging.fetch import ImageSource, LayoutSource, RegistrySource, bring_image
from modelcar.packaging.locations import StoredLocation, parse_location
from modelcar.registry import Registry
from modelcar.store import LocalStore, write_document
from modelcar.store.memory import MemoryStore

__all__ = ["OWN_BASES", "choose_bases", "own_bases", "planned_bases"]

OWN_BASES: Final = ("holder", "scratch")


def choose_bases(base: str, platforms: Sequence[Platform], store: LocalStore, registry: Registry) -> list[Base]:
    """What `holder`, `scratch` or the name of an image means; an image is brought into `store`.

    Raises:
        UsageError: there is none for one of `platforms`.
    """
    if base in OWN_BASES:
        return own_bases(base, platforms)
    platforms = _each_once(platforms)
    root = bring_image(parse_location(base), store, registry, platforms or DEFAULT_PLATFORMS)
    return foreign_bases(store.content, root, platforms or None, base)


def planned_bases(base: str, platforms: Sequence[Platform], registry: Registry) -> list[Base]:
    """The same by documents alone: no layer is brought, and nothing is written.

    Raises: as `choose_bases`.
    """
    if base in OWN_BASES:
        return own_bases(base, platforms)
    platforms = _each_once(platforms)
    location = parse_location(base)
    source: ImageSource
    source = LayoutSource(location) if isinstance(location, StoredLocation) else RegistrySource(location, registry)
    root, documents = source.resolve(), MemoryStore()
    for descriptor in _documents(source, root, platforms or DEFAULT_PLATFORMS):
        write_document(documents, source.read(descriptor), descriptor.digest)
    return foreign_bases(documents, root, platforms or None, base, complete=False)


def own_bases(base: str, platforms: Sequence[Platform]) -> list[Base]:
    """`holder` or `scratch`, which cost nothing.

    Raises:
        UsageError: there is no holder for one of `platforms`.
    """
    make = holder_base if base == "holder" else scratch_base
    return [make(platform) for platform in _each_once(platforms) or DEFAULT_PLATFORMS]


def _each_once(platforms: Sequence[Platform]) -> list[Platform]:
    return list({str(platform): platform for platform in platforms}.values())


def _documents(source: ImageSource, root: Descriptor, platforms: Sequence[Platform]) -> Iterator[Descriptor]:
    """Manifests and configs of the images for `platforms`, and what leads to them."""
    yield root
    document = source.document(root)
    if isinstance(document, Manifest):
        yield document.config
        return
    for platform in platforms:
        if (entry := document.select(platform)) is not None:
            yield from _documents(source, entry, ())
