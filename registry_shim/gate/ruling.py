"""What the gate makes of an image: a pure function of its rule, what was examined, and this node's own verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from modelcar.errors import Denied, ModelcarError
from modelcar.oci import Digest
from modelcar.scanning.findings import Outcome
from modelcar.scanning.version import RULE_SET
from registry_shim.gate.examine import Examination
from registry_shim.gate.settings import GateRule, Mode, NodeScan, OnPending, ScanDemand, Unverified
from registry_shim.gate.verdicts import NodeVerdict

__all__ = ["Ruling", "State", "judge", "unseen"]

_SKEW: Final = timedelta(minutes=5)
_HINT: Final = "`registry-shim status` on the node tells all reasons; docs/how-to/gate.md what to do about each"


class State(StrEnum):
    """Whether an image satisfies its rule."""

    ALLOWED = "allowed"
    PENDING = "pending"
    """This node has to scan it first."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """Where an image stands.

    Attributes:
        image: `registry/repository`.
        reasons: why it is refused, or what it waits for, the most important first.
        warnings: what policies in warn mode say.
        said_by: who signed it, and whose verdict counts.
        is_revoked: that it is refused for what it does, so that pulls that still run are cut: a deny-list names it, or
            it is malicious.
        evil: the layers that hold what is malicious, where a scan of this node found them.
        is_outdated: that it rests on a verdict of this node by older rules, and is to be scanned again meanwhile.
    """

    image: str
    digest: Digest
    rule: GateRule
    state: State
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    said_by: tuple[str, ...] = ()
    decided_at: datetime
    is_revoked: bool = False
    evil: tuple[Digest, ...] = ()
    is_outdated: bool = False

    @property
    def is_served(self) -> bool:
        """Whether it leaves this node as things stand."""
        if self.rule.mode is not Mode.ENFORCE or self.state is State.ALLOWED:
            return True
        return self.state is State.PENDING and self.rule.on_pending is OnPending.STREAM

    def refusal(self, progress: str | None = None) -> Denied:
        """What whoever pulls is told; most programs show the message alone. `progress` is of the scan under way."""
        reason = self.reasons[0] if self.reasons else "no reason is known"
        if self.state is State.PENDING:
            reason, hint = f"{progress or reason}; try again later", "the scan goes on meanwhile"
        else:
            reason += f" (and {len(self.reasons) - 1} more)" if len(self.reasons) > 1 else ""
            hint = _HINT
        message = f"{self.image}@{self.digest} is not served by this node, rule {self.rule.images!r}: {reason}"
        return Denied(message, reasons=self.reasons, hint=hint)

    @property
    def advice(self) -> tuple[str, ...]:
        """What the `warn` mode tells whoever pulls."""
        would = tuple(f"would be refused, rule {self.rule.images!r}: {reason}" for reason in self.reasons)
        return (*(would if self.state is State.REFUSED else ()), *self.warnings)

    def to_dict(self) -> dict[str, Any]:
        return {
            "image": self.image,
            "digest": str(self.digest),
            "rule": self.rule.images,
            "mode": str(self.rule.mode),
            "state": str(self.state),
            "served": self.is_served,
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
            "saidBy": list(self.said_by),
            "decidedAt": self.decided_at.isoformat(timespec="seconds"),
        }


def judge(
    image: str, rule: GateRule, seen: Examination, verdict: NodeVerdict | None, scan: NodeScan, now: datetime
) -> Ruling:
    """Rule about an image; nothing is read, fetched or changed.

    Args:
        verdict: this node's own, by whatever rules and however old.
    """
    found = _evil(verdict) if rule.demands_scan else ()
    by: tuple[str, ...] = ()
    if found or seen.reasons:
        state, reasons = State.REFUSED, (*found, *seen.reasons)
    elif rule.scan is ScanDemand.NODE and not seen.is_attested:
        state, reasons = _by_scan(rule, seen, verdict, scan, now)
        if verdict is not None and state is not State.PENDING:
            by = (f"{verdict.outcome} by this node, rules {verdict.rule_set}",)
    else:
        state, reasons = _by_documents(rule, seen)
    is_old = verdict is not None and rule.scan is ScanDemand.NODE and not verdict.is_current(scan)
    is_denied = any(reason.startswith("DigestDenyList") for reason in seen.reasons)
    return Ruling(
        image=image,
        digest=seen.root.digest,
        rule=rule,
        state=state,
        reasons=reasons,
        warnings=seen.warnings,
        said_by=(*seen.vouched, *by),
        decided_at=now,
        is_revoked=(bool(found) and not is_old) or is_denied or bool(seen.malicious),
        evil=verdict.layers if verdict is not None and found and not is_old else (),
        is_outdated=is_old and (bool(found) or not seen.is_attested),
    )


def unseen(image: str, digest: Digest, rule: GateRule, verdict: NodeVerdict | None, error: ModelcarError) -> Ruling:
    """Rule about an image that cannot be looked at: nothing that is not known stands for it, and evil stays evil."""
    found, is_denied = _evil(verdict), isinstance(error, Denied)  # a part of it, that has to be read, is revoked
    return Ruling(
        image=image,
        digest=digest,
        rule=rule,
        state=State.REFUSED,
        reasons=(*found, str(error) if is_denied else f"it cannot be looked at: {error}"),
        decided_at=datetime.now(UTC),
        is_revoked=bool(found) or is_denied,
        evil=verdict.layers if verdict is not None and found else (),
    )


def _evil(verdict: NodeVerdict | None) -> tuple[str, ...]:
    """What this node found malicious; that holds by whatever rules."""
    if verdict is None or verdict.outcome is not Outcome.MALICIOUS:
        return ()
    return tuple(f"this node found it malicious: {reason}" for reason in verdict.reasons or ("no reason is known",))


def _by_documents(rule: GateRule, seen: Examination) -> tuple[State, tuple[str, ...]]:
    if (seen.requirements or rule.scan is ScanDemand.ATTESTED) and not seen.is_attested:
        return State.REFUSED, seen.lacking or ("no scan verdict that suffices is attached",)
    if not seen.formats_known:
        known = f"its formats are not known, for it has no model index ({', '.join(rule.formats)} are allowed)"
        return State.REFUSED, (known,)
    return State.ALLOWED, ()


def _by_scan(
    rule: GateRule, seen: Examination, verdict: NodeVerdict | None, scan: NodeScan, now: datetime
) -> tuple[State, tuple[str, ...]]:
    """By this node's verdict, which no policy can make worth more than the rules that the node scans by."""
    for required in seen.requirements:
        if not RULE_SET.reaches(required.rule_set):
            lacks = f"this node scans by the rules {RULE_SET}; {required.rule_set} is the least"
            return State.REFUSED, (lacks, *seen.lacking)
    if verdict is None or not verdict.is_of(scan) or _falls_short(verdict, seen, now):
        return State.PENDING, ("it is being scanned", *seen.lacking)
    if verdict.outcome is not Outcome.CLEAN and rule.unverified is Unverified.REFUSE:
        return State.REFUSED, tuple(f"nobody can vouch for it: {reason}" for reason in verdict.reasons)
    if bad := [f"{path} ({name})" for name, path in verdict.formats if rule.formats and name not in rule.formats]:
        return State.REFUSED, (f"not of an allowed format ({', '.join(rule.formats)}): {', '.join(bad)}",)
    return State.ALLOWED, ()


def _falls_short(verdict: NodeVerdict, seen: Examination, now: datetime) -> bool:
    """What a policy says of a verdict's age and rules holds for this node's, too; one from the future is none."""
    return verdict.scanned_at > now + _SKEW or any(
        now - verdict.scanned_at > required.max_age or not verdict.rule_set.reaches(required.rule_set)
        for required in seen.requirements
    )
