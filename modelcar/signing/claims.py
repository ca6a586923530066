"""What evidence says of itself, for people who look around. Nothing here is verified."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from modelcar.errors import InvalidDocument
from modelcar.oci import Digest
from modelcar.signing.dsse import Envelope
from modelcar.signing.encoding import decode_base64
from modelcar.signing.simplesigning import signed_digest
from modelcar.signing.statement import COSIGN_SIGN, Statement
from modelcar.signing.verified import Bundle, Evidence

__all__ = ["Claim", "claimed_key", "claims"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A signature or attestation as it presents itself. `signer` is what it says of who made it, if anything."""

    kind: Literal["signature", "attestation"]
    predicate_type: str
    format: Literal["bundle", "legacy"]
    signer: str | None

    def to_dict(self) -> Mapping[str, Any]:
        return {
            "kind": self.kind,
            "predicateType": self.predicate_type,
            "format": self.format,
            "claimedSigner": self.signer,
            "verified": False,
        }


def claims(digest: Digest, evidence: Evidence) -> tuple[Claim, ...]:
    """What there is about `digest`; statements about something else are left out."""
    found = [_claim(bundle.envelope, digest, "bundle", _signer(bundle)) for bundle in evidence.bundles]
    found += [_claim(envelope, digest, "legacy", None) for envelope in evidence.envelopes]
    for signature in evidence.simple:
        try:
            about = signed_digest(signature.payload)
        except InvalidDocument:
            continue
        if about == digest:
            found.append(Claim(kind="signature", predicate_type=COSIGN_SIGN, format="legacy", signer=None))
    return tuple(claim for claim in found if claim is not None)


def claimed_key(bundle: Bundle) -> str | None:
    """The fingerprint of the key that a bundle names, if it names one as cosign does."""
    try:
        named = decode_base64(bundle.key_hint or "", "hint")
    except InvalidDocument:
        return None
    return f"sha256:{binascii.hexlify(named).decode()}" if len(named) == 32 else None


def _signer(bundle: Bundle) -> str | None:
    if bundle.certificate is not None:
        return "a certificate"
    key = claimed_key(bundle)
    return f"key {key}" if key else None


def _claim(envelope: Envelope, digest: Digest, form: Literal["bundle", "legacy"], signer: str | None) -> Claim | None:
    try:
        statement = Statement.parse(envelope.payload)
    except InvalidDocument:
        return None
    if not statement.is_about(digest):
        return None
    kind: Literal["signature", "attestation"] = (
        "signature" if statement.predicate_type == COSIGN_SIGN and form == "bundle" else "attestation"
    )
    return Claim(kind=kind, predicate_type=statement.predicate_type, format=form, signer=signer)
