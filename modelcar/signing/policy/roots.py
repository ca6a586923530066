"""Roots of trust under the names that policies have for them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelcar.errors import ModelcarError
from modelcar.signing.policy.resolve import KnownAuthorities
from modelcar.signing.policy.trust import PUBLIC_FULCIO
from modelcar.signing.roots import TrustRoots
from modelcar.signing.verified import Authority

if TYPE_CHECKING:
    from modelcar.signing.keyless.trust import TrustSource

__all__ = ["authorities_of", "authorities_under", "prepare"]


def authorities_under(
    public: TrustSource,
    named: Mapping[str, TrustSource] | None = None,
    services: Mapping[str, Authority] | None = None,
) -> KnownAuthorities:
    """Keys that policies contain, and identities under these roots of trust. Nothing is loaded before it is needed.

    Args:
        public: stands for Sigstore's public instance, which policies mean if they name none.
        named: by `trustRootRef`, or by the URL of a Fulcio.
        services: keys that are elsewhere, as in `KnownAuthorities`.
    """
    roots = {PUBLIC_FULCIO: public, **{name.rstrip("/"): root for name, root in (named or {}).items()}}
    return KnownAuthorities(keyless={name: _anyone(root) for name, root in roots.items()}, services=services or {})


def authorities_of(roots: TrustRoots) -> KnownAuthorities:
    """As `authorities_under`, with the roots that a server's settings name."""
    from modelcar.signing.keyless.trust import TrustSource

    public = TrustSource(trusted_root=roots.trusted_root, offline=roots.offline)
    return authorities_under(public, {each.name: TrustSource(trusted_root=each.file) for each in roots.named})


def prepare(authorities: KnownAuthorities, log: logging.Logger) -> None:
    """Load the roots of trust, so that the first image does not wait for it. Blocks; a failure is only logged, because
    whoever needs that root is refused with the reason anyway."""
    from modelcar.signing.keyless.authority import UnsafeAnyIdentity

    for name, authority in authorities.keyless.items():
        if isinstance(authority, UnsafeAnyIdentity):
            try:
                authority.prepare()
            except ModelcarError as e:
                log.warning("the root of trust %s is not at hand: %s", name, e)


def _anyone(root: TrustSource) -> Authority:
    """Whoever has a certificate under `root`: which of them counts, the policy says."""
    from modelcar.signing.keyless.authority import UnsafeAnyIdentity

    return UnsafeAnyIdentity(root)
