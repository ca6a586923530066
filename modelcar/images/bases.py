"""What an image shall run, by name: our holder, nothing, or what somebody else's image runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modelcar.oci import Platform
from modelcar.packaging.base import DEFAULT_PLATFORMS, Base, foreign_bases, holder_base, scratch_base
from modelcar.packaging.fetch import bring_image
from modelcar.packaging.locations import parse_location
from modelcar.registry import Registry
from modelcar.store import LocalStore

__all__ = ["OWN_BASES", "choose_bases", "own_bases"]

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


def own_bases(base: str, platforms: Sequence[Platform]) -> list[Base]:
    """`holder` or `scratch`, which cost nothing.

    Raises:
        UsageError: there is no holder for one of `platforms`.
    """
    make = holder_base if base == "holder" else scratch_base
    return [make(platform) for platform in _each_once(platforms) or DEFAULT_PLATFORMS]


def _each_once(platforms: Sequence[Platform]) -> list[Platform]:
    return list({str(platform): platform for platform in platforms}.values())
