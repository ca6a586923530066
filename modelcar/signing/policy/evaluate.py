"""The decision: a pure function of policies, facts and evidence, the same for a command, a node and a webhook.

Policies that an image falls under must all be satisfied; of a policy's authorities, one. What cannot be evaluated is
not satisfied. Deny-lists come first and nothing outweighs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from modelcar.oci import Digest
from modelcar.signing.policy.authorities import Static
from modelcar.signing.policy.clusterimage import ClusterImagePolicy
from modelcar.signing.policy.decision import AuthorityResult, Decision, PolicyResult
from modelcar.signing.policy.facts import ImageFacts
from modelcar.signing.policy.globs import image_names
from modelcar.signing.policy.policyset import Policy, PolicySet
from modelcar.signing.policy.resolve import Authorities
from modelcar.signing.policy.rules import evaluate_model
from modelcar.signing.policy.witnesses import Witnesses
from modelcar.signing.verified import Evidence

__all__ = ["Default", "evaluate"]

Default = Literal["deny", "allow"]


def evaluate(
    policies: PolicySet,
    image: ImageFacts,
    evidence: Mapping[Digest, Evidence],
    authorities: Authorities,
    *,
    now: datetime,
    default: Default = "deny",
) -> Decision:
    """Decide about `image`; nothing is read, fetched or changed.

    Args:
        evidence: what lies beside the image, and beside manifests in it, by the digest that it lies beside.
        now: against which the age of scans is measured; with a time zone.
        default: for an image that no policy speaks about.
    """
    witnesses = Witnesses(evidence, authorities)
    names = image_names(image.reference, image.digest)
    matching = [(p, certain) for p in policies.policies if (certain := _speaks_about(p, names, image)) is not None]
    results = tuple(_evaluate_policy(policy, image, witnesses, now) for policy, _ in matching)
    revoked = _revoked(policies, image)
    reasons = [
        *revoked,
        *(line for r in results if r.denies for line in r.lines),
    ]
    if default != "allow" and not any(certain for _, certain in matching):
        reasons.append(_nothing_matches(image, maybe=bool(matching)))
    return Decision(
        image=str(image.reference),
        digest=image.digest,
        allowed=not reasons,
        reasons=tuple(reasons),
        warnings=tuple(line for r in results if not r.satisfied and r.warn_only for line in r.lines),
        policies=results,
        revoked=tuple(revoked),
    )


def _speaks_about(policy: Policy, names: tuple[str, ...], image: ImageFacts) -> bool | None:
    """`None` if it does not; `False` if it may, because `match` asks for a workload that is not known here."""
    if not any(glob.matches(names) for glob in policy.images):
        return None
    if not isinstance(policy, ClusterImagePolicy) or not policy.match:
        return True
    if image.workload is None:
        return False
    workload = image.workload
    return True if any(match.matches(workload) for match in policy.match) else None


def _nothing_matches(image: ImageFacts, *, maybe: bool) -> str:
    if maybe:
        return f"only policies with `match` speak about {image.reference}, and what will run it is not known here"
    return f"no policy speaks about {image.reference}, and the default is to deny"


def _revoked(policies: PolicySet, image: ImageFacts) -> list[str]:
    """Deny-lists over everything that the image is known to consist of."""
    contents = {**image.contents, image.digest: "the image"}
    if image.reference.digest is not None:
        contents.setdefault(image.reference.digest, "the image as it was asked for")
    return [
        f"DigestDenyList {deny_list.name}: {what} {digest} is revoked: {deny_list.digests[digest]}"
        for deny_list in policies.deny_lists
        for digest, what in contents.items()
        if digest in deny_list.digests
    ]


def _evaluate_policy(policy: Policy, image: ImageFacts, witnesses: Witnesses, now: datetime) -> PolicyResult:
    if not isinstance(policy, ClusterImagePolicy):
        return evaluate_model(policy, image, witnesses, now)
    results = tuple(
        AuthorityResult(
            name=spec.name,
            satisfied=spec.trust.passes,
            reasons=()
            if spec.trust.passes
            else (f"the policy forbids it: {spec.trust.message or 'no reason is given'}",),
        )
        if isinstance(spec.trust, Static)
        else witnesses.satisfy(spec, spec.trust, image.digest)
        for spec in policy.authorities
    )
    reasons: tuple[str, ...] = ()
    if not any(result.satisfied for result in results):
        reasons = tuple(f"authority {result.name}: {reason}" for result in results for reason in result.reasons)
    elif policy.body is not None:
        reasons = (f"its {policy.body} policy cannot be evaluated here, so it is not satisfied",)
    return PolicyResult(
        kind=policy.kind,
        name=policy.name,
        satisfied=not reasons,
        warn_only=policy.warn_only,
        reasons=reasons,
        authorities=results,
    )
