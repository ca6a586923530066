"""What scan verdicts that lie beside an image say. Nobody has checked who said it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelcar.errors import InvalidDocument
from modelcar.oci import Digest
from modelcar.signing.attestations.predicate_types import COSIGN_CUSTOM, CYCLONEDX, MODEL_SIGNING, SLSA_PROVENANCE
from modelcar.signing.ruleset import SCAN_VERDICT
from modelcar.signing.statement import COSIGN_SIGN, Statement
from modelcar.signing.verified import Evidence

__all__ = ["ClaimedVerdict", "claimed_verdicts", "spoken"]

_SPOKEN = {
    COSIGN_SIGN: "signature",
    SLSA_PROVENANCE: "SLSA provenance",
    CYCLONEDX: "CycloneDX ML-BOM",
    MODEL_SIGNING: "OpenSSF model signing",
    SCAN_VERDICT: "scan verdict",
    COSIGN_CUSTOM: "custom",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedVerdict:
    """All as it is written there; `verdict` is `clean`, `malicious` or `unverified`, or it would not be here."""

    verdict: str
    rules: str
    scanned_at: str
    findings: int


def claimed_verdicts(digest: Digest, evidence: Evidence) -> tuple[ClaimedVerdict, ...]:
    """The scan verdicts about `digest`; what is not readable as one is left out."""
    envelopes = [*(bundle.envelope for bundle in evidence.bundles), *evidence.envelopes]
    return tuple(_verdicts([envelope.payload for envelope in envelopes], digest))


def spoken(predicate_type: str) -> str:
    """A predicate type as people call it; one that is not known stays as it is."""
    return _SPOKEN.get(predicate_type, predicate_type)


def _verdicts(payloads: list[bytes], digest: Digest) -> Iterator[ClaimedVerdict]:
    for payload in payloads:
        try:
            statement = Statement.parse(payload)
        except InvalidDocument:
            continue
        said = statement.predicate.get("verdict")
        if statement.predicate_type != SCAN_VERDICT or not statement.is_about(digest):
            continue
        if said in ("clean", "malicious", "unverified"):
            yield _verdict(said, statement.predicate)


def _verdict(said: str, predicate: Mapping[str, Any]) -> ClaimedVerdict:
    rules, findings = predicate.get("ruleSet"), predicate.get("findings")
    named = rules if isinstance(rules, dict) else {}
    left_out = predicate.get("findingsLeftOut")
    listed = len(findings) if isinstance(findings, list) else 0
    return ClaimedVerdict(
        verdict=said,
        rules=f"{named.get('name', '')} {named.get('version', '')}".strip(),
        scanned_at=str(predicate.get("scannedAt", "")),
        findings=listed + (left_out if isinstance(left_out, int) else 0),
    )
