"""What scanners say about an image: whose word a policy takes, weighed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelcar.errors import InvalidDocument
from modelcar.oci import Digest
from modelcar.signing.policy.authorities import AuthoritySpec, Static
from modelcar.signing.policy.decision import AuthorityResult
from modelcar.signing.policy.facts import ImageFacts
from modelcar.signing.policy.verdicts import ScanRequirement, Verdict, parse_verdict
from modelcar.signing.policy.witnesses import Witnesses
from modelcar.signing.ruleset import SCAN_VERDICT

__all__ = ["ScanOpinion", "scan_opinion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOpinion:
    """One authority's newest verdict must do, and none may have said *malicious*, at any time, by any rules.

    Attributes:
        malicious: who said so.
        unheard: authorities that could not be asked, and why: one of them could be the one who said it.
    """

    results: tuple[AuthorityResult, ...] = ()
    malicious: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why not; empty if it is clean."""
        if self.malicious or self.unheard:
            return self.malicious or self.unheard
        if any(result.satisfied for result in self.results):
            return ()
        return tuple(f"verdict by {result.name}: {reason}" for result in self.results for reason in result.reasons)


def scan_opinion(required: ScanRequirement, image: ImageFacts, witnesses: Witnesses, now: datetime) -> ScanOpinion:
    """What the authorities of `required` say."""
    results: list[AuthorityResult] = []
    malicious: list[str] = []
    unheard: list[str] = []
    for spec in required.authorities:
        for digest in dict.fromkeys((image.digest, *witnesses.everything_about())):
            statements, asked, reasons = _verdicts(spec, digest, witnesses)
            malicious += [f"{who} found it malicious" for who, verdict in statements if verdict is None]
            if not asked:
                unheard += [f"verdicts by {spec.name} cannot be checked: {reason}" for reason in reasons]
            if digest == image.digest:
                results.append(_newest(spec.name, required, statements, reasons, now))
    return ScanOpinion(
        results=tuple(results), malicious=tuple(dict.fromkeys(malicious)), unheard=tuple(dict.fromkeys(unheard))
    )


def _verdicts(
    spec: AuthoritySpec, digest: Digest, witnesses: Witnesses
) -> tuple[list[tuple[str, Verdict | None]], bool, list[str]]:
    """Who said what (`None`: malicious), whether the authority could be asked, and what could not be read."""
    if isinstance(spec.trust, Static):
        return [], False, ["it names no signer"]
    testimony = witnesses.hear(spec, spec.trust, digest, SCAN_VERDICT)
    found: list[tuple[str, Verdict | None]] = []
    reasons = list(testimony.reasons)
    for statement in testimony.statements:
        try:
            found.append((str(statement.signer), parse_verdict(statement)))
        except InvalidDocument as e:
            reasons.append(f"a verdict cannot be read: {e}")
    return found, testimony.asked, reasons


def _newest(
    name: str,
    required: ScanRequirement,
    statements: list[tuple[str, Verdict | None]],
    reasons: list[str],
    now: datetime,
) -> AuthorityResult:
    verdicts = [(verdict.scanned_at, who, verdict) for who, verdict in statements if verdict is not None]
    if not verdicts:
        return AuthorityResult(name=name, satisfied=False, reasons=tuple(reasons) or ("there is none",))
    _, who, newest = max(verdicts, key=lambda entry: entry[0])
    shortcoming = required.shortcoming(newest, now)
    if shortcoming is None:
        return AuthorityResult(name=name, satisfied=True, signers=(who,))
    return AuthorityResult(name=name, satisfied=False, reasons=(shortcoming, *reasons))
