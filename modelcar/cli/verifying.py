"""What verbs that use an image demand of it before they do."""

from __future__ import annotations

from modelcar.cli.output import Output
from modelcar.cli.policies import PolicyChoice, show_decision
from modelcar.cli.trust import TrustChoice
from modelcar.oci import Descriptor
from modelcar.packaging.locations import Location
from modelcar.signing.places import LayoutPlace, RegistryPlace

__all__ = ["Demands"]


class Demands:
    """Who must have signed, and which policies must allow it; nothing, if nobody was named."""

    def __init__(self, ref: Location, trust: TrustChoice, policy: PolicyChoice) -> None:
        """Raises `UsageError` for keys or policies that are none, before anything is fetched."""
        self._ref, self._trust, self._policy = ref, trust, policy
        self._policies = policy.load() if policy else None
        self._authority = trust.authority(ref) if trust.keys or trust.identity else None

    def check(self, place: RegistryPlace | LayoutPlace, root: Descriptor, output: Output) -> None:
        """Raises `NotVerified` or `Denied`, with every reason."""
        if self._policies is not None:
            decision = self._policy.decide(self._policies, self._ref, place, root, self._trust.identity)
            if not decision.allowed:
                show_decision(output, decision)
            decision.require()
        if self._authority is not None:
            from modelcar.signing.evidence import gather_evidence
            from modelcar.signing.verify import verify_signature

            verify_signature(
                digest=root.digest, evidence=gather_evidence(place, root.digest), authority=self._authority
            )
