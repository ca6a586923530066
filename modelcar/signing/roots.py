"""Roots of trust, as an operator names them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["NamedRoot", "TrustRoots"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRoot:
    """A root of trust under the name that policies have for it."""

    name: str
    """A `trustRootRef`, or the URL of a Fulcio."""
    file: Path
    """Its trusted_root.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRoots:
    """Under which roots of trust identities are believed; keys stand in the policies themselves."""

    trusted_root: Path | None = None
    """A trusted_root.json for Sigstore's public instance, instead of the one that is refreshed over the network."""
    offline: bool = False
    """Whether the public instance's root is taken from the cache of this machine, however old."""
    named: tuple[NamedRoot, ...] = ()
    """Other instances."""
