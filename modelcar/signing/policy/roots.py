"""Roots of trust under the names that policies have for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelcar.signing.policy.resolve import KnownAuthorities
from modelcar.signing.policy.trust import PUBLIC_FULCIO
from modelcar.signing.verified import Authority

if TYPE_CHECKING:
    from modelcar.signing.keyless.trust import TrustSource

__all__ = ["authorities_under"]


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


def _anyone(root: TrustSource) -> Authority:
    """Whoever has a certificate under `root`: which of them counts, the policy says."""
    from modelcar.signing.keyless.authority import KeylessAuthority
    from modelcar.signing.keyless.identity import IdentityRule

    return KeylessAuthority([IdentityRule(subject_regexp=r"(?s:.*)", issuer_regexp=r"(?s:.*)")], root)
