"""What the policies' word means for a pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelcar.admission.asked import Asked
from modelcar.admission.facts import Facts, ImageFact, Trust
from modelcar.admission.pinning import pinned
from modelcar.admission.settings import Failure, TrustMode, TrustSettings
from modelcar.errors import Denied
from modelcar.oci import Digest

__all__ = ["Judgement", "judge"]

_UNASKED = Trust(unknown="the policies were not asked")
_LONGEST_STATUS = 1000  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A pod that may run. `status` is written on it; `None` without policies."""

    status: str | None = None
    warnings: tuple[str, ...] = ()
    audit: Mapping[str, str] = field(default_factory=dict)


def judge(asked: Asked, facts: Facts, settings: TrustSettings) -> Judgement:
    """Whether the pod may run.

    Raises:
        Denied: it may not; its line and `reasons` have everything that is against it.
    """
    if settings.mode is TrustMode.OFF:
        return Judgement()
    # Keys of dictionaries, since one image may be in the pod twice, pinned and not.
    revoked: dict[str, None] = {}
    against: dict[str, None] = {}
    unknown: dict[str, None] = {}
    warnings: dict[str, None] = {}
    written = {pinned(image, Digest.parse(digest)): image for image, digest in asked.pins.items()}
    for asked_of in asked.images:
        trust = facts.get(asked_of, ImageFact()).trust or _UNASKED
        image = written.get(asked_of, asked_of)  # so that a second pass says the same
        revoked |= dict.fromkeys(f"{image} may not run: {reason}" for reason in trust.revoked)
        against |= dict.fromkeys(f"{image} is against policy: {reason}" for reason in trust.denied)
        unknown |= {f"{image} could not be verified: {trust.unknown}": None} if trust.unknown else {}
        warnings |= dict.fromkeys(f"{image}: {warning}" for warning in trust.warnings)
    noes = list(revoked)
    if settings.mode is TrustMode.ENFORCE:
        noes += [*against, *(unknown if settings.failure is Failure.CLOSED else ())]
    if noes:
        raise Denied(noes[0], reasons=tuple(noes[1:]), hint="`modelcar verify --policy` says more")
    return _let_in(list(against), list(unknown), list(warnings), settings)


def _let_in(against: list[str], unknown: list[str], warnings: list[str], settings: TrustSettings) -> Judgement:
    objections = against + unknown
    word = "audit" if against else "unverified"
    status = f"{word}: {objections[0]}"[:_LONGEST_STATUS] if objections else "verified"
    if settings.mode is not TrustMode.AUDIT:
        warnings = objections + warnings
    return Judgement(status=status, warnings=tuple(warnings), audit={"trust": "; ".join(objections) or status})
