"""Whose word is taken: keys that policies contain, and identities under the roots of trust of the settings."""

from __future__ import annotations

import logging

from modelcar.errors import ModelcarError
from modelcar.signing.policy import KnownAuthorities, authorities_under
from modelcar.signing.policy.clusterimage import ClusterImagePolicy
from modelcar.signing.policy.modelpolicy import ModelPolicy
from modelcar.signing.policy.trust import KeylessTrust
from registry_shim.gate.policybook import Page
from registry_shim.gate.settings import TrustRoots

__all__ = ["authorities_of", "prepare", "wants_identities"]

_log = logging.getLogger("registry_shim.gate")


def authorities_of(roots: TrustRoots) -> KnownAuthorities:
    """Nothing is loaded before it is needed."""
    from modelcar.signing.keyless.trust import TrustSource

    public = TrustSource(trusted_root=roots.trusted_root, offline=roots.offline)
    return authorities_under(public, {each.name: TrustSource(trusted_root=each.file) for each in roots.named})


def prepare(authorities: KnownAuthorities) -> None:
    """Load the roots of trust, so that the first pull does not wait for it. Blocks; a failure is only logged, because
    whoever needs that root is refused with the reason anyway."""
    from modelcar.signing.keyless.authority import UnsafeAnyIdentity

    for name, authority in authorities.keyless.items():
        if isinstance(authority, UnsafeAnyIdentity):
            try:
                authority.prepare()
            except ModelcarError as e:
                _log.warning("the root of trust %s is not at hand: %s", name, e)


def wants_identities(page: Page) -> bool:
    """Whether a policy names identities, for which a root of trust is needed."""
    for policies in page.policies.values():
        for policy in policies.policies:
            scan = policy.scan if isinstance(policy, ModelPolicy) else None
            specs = policy.authorities if isinstance(policy, ClusterImagePolicy) else scan.authorities if scan else ()
            if any(isinstance(spec.trust, KeylessTrust) for spec in specs):
                return True
    return False
