"""Who said what about a manifest. Everything here returns what was verified, or raises.

>>> verified = verify_signature(digest=digest, evidence=evidence, authority=KeyAuthority([key]))  # doctest: +SKIP

Evidence comes from wherever an image lies and is hostile until an authority vouches for it. Each piece is looked at
alone: what is damaged, foreign or forged hides nothing that is sound, and becomes a reason if nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Final, Literal

from modelcar.errors import InvalidDocument, NotVerified
from modelcar.oci import Digest
from modelcar.signing.claims import claimed_key
from modelcar.signing.dsse import IN_TOTO, Envelope
from modelcar.signing.simplesigning import signed_digest
from modelcar.signing.statement import COSIGN_SIGN, Statement
from modelcar.signing.verified import Authority, Bundle, Evidence, Signer, SimpleSignature, Verified

__all__ = ["verify_attestation", "verify_attestations", "verify_signature"]

_MAX_REASONS: Final = 20

Check = Callable[[], Verified]


def verify_signature(*, digest: Digest, evidence: Evidence, authority: Authority) -> Verified:
    """A signature by `authority` over exactly this manifest, in either of cosign's formats.

    An attestation is no signature, whoever signed it: cosign's own verifier does not tell them apart.

    Raises:
        NotVerified: there is none; `reasons` says of every piece of evidence why it does not do.
    """
    checks = _bundle_checks(evidence, digest, COSIGN_SIGN, authority)
    checks += [
        (f"legacy signature {i}", partial(_simple, signature, digest, authority))
        for i, signature in enumerate(evidence.simple, 1)
    ]
    reasons: list[str] = []
    for verified in _attempt(checks, reasons):
        return verified
    raise _nothing(f"{digest} has no signature by {authority}", evidence, reasons)


def verify_attestation(*, digest: Digest, predicate_type: str, evidence: Evidence, authority: Authority) -> Verified:
    """The first of `verify_attestations`. For statements that can contradict each other, look at all."""
    return verify_attestations(digest=digest, predicate_type=predicate_type, evidence=evidence, authority=authority)[0]


def verify_attestations(
    *, digest: Digest, predicate_type: str, evidence: Evidence, authority: Authority
) -> tuple[Verified, ...]:
    """Every statement of exactly this type about exactly this manifest that `authority` signed; at least one.

    Raises:
        NotVerified: there is none; `reasons` says of every piece of evidence why it does not do.
    """
    checks = _bundle_checks(evidence, digest, predicate_type, authority)
    checks += [
        (f"legacy attestation {i}", partial(_envelope, envelope, digest, predicate_type, authority))
        for i, envelope in enumerate(evidence.envelopes, 1)
    ]
    reasons: list[str] = []
    found = tuple(_attempt(checks, reasons))
    if not found:
        raise _nothing(f"{digest} has no attestation of type {predicate_type} by {authority}", evidence, reasons)
    return found


def _bundle_checks(
    evidence: Evidence, digest: Digest, predicate_type: str, authority: Authority
) -> list[tuple[str, Check]]:
    return [
        (_name(bundle, i), partial(_bundle, bundle, digest, predicate_type, authority))
        for i, bundle in enumerate(evidence.bundles, 1)
    ]


def _name(bundle: Bundle, number: int) -> str:
    key = claimed_key(bundle)
    return f"bundle {number}" + (f" (says it is by key {key})" if key else "")


def _attempt(checks: list[tuple[str, Check]], reasons: list[str]) -> Iterator[Verified]:
    for name, check in checks:
        try:
            yield check()
        except (NotVerified, InvalidDocument) as e:
            reasons.append(f"{name}: {e}")


def _bundle(bundle: Bundle, digest: Digest, predicate_type: str, authority: Authority) -> Verified:
    statement = _statement(bundle.envelope, digest, predicate_type)
    signer, signed_at = authority.verify_bundle(bundle)
    return _verified(digest, statement, signer, signed_at, "bundle")


def _envelope(envelope: Envelope, digest: Digest, predicate_type: str, authority: Authority) -> Verified:
    statement = _statement(envelope, digest, predicate_type)
    signer, signed_at = authority.verify_envelope(envelope)
    return _verified(digest, statement, signer, signed_at, "legacy")


def _simple(signature: SimpleSignature, digest: Digest, authority: Authority) -> Verified:
    """The docker-reference in the payload is not looked at: the digest says what it is, wherever it lies."""
    if (about := signed_digest(signature.payload)) != digest:
        raise NotVerified(f"it is about {about}")
    signer, signed_at = authority.verify_simple(signature)
    statement = Statement.about(digest, COSIGN_SIGN)
    return _verified(digest, statement, signer, signed_at, "legacy")


def _statement(envelope: Envelope, digest: Digest, predicate_type: str) -> Statement:
    if envelope.payload_type != IN_TOTO:
        raise NotVerified(f"its payload is a {envelope.payload_type}, not a statement")
    statement = Statement.parse(envelope.payload)
    if statement.predicate_type != predicate_type:
        raise NotVerified(f"it is a statement of type {statement.predicate_type}")
    if not statement.is_about(digest):
        raise NotVerified(f"it is about {statement.subjects[0]}")
    return statement


def _verified(
    digest: Digest,
    statement: Statement,
    signer: Signer,
    signed_at: datetime | None,
    form: Literal["bundle", "legacy"],
) -> Verified:
    return Verified(
        digest=digest,
        predicate_type=statement.predicate_type,
        predicate=statement.predicate,
        signer=signer,
        signed_at=signed_at,
        format=form,
    )


def _nothing(message: str, evidence: Evidence, reasons: list[str]) -> NotVerified:
    reasons = [*reasons, *evidence.unreadable]
    if not reasons:
        return NotVerified(
            message,
            reasons=("nothing is attached to it",),
            hint="sign it, or copy it together with its signatures: `modelcar copy`",
        )
    if len(reasons) > _MAX_REASONS:
        reasons = [*reasons[:_MAX_REASONS], f"and {len(reasons) - _MAX_REASONS} more"]
    return NotVerified(message, reasons=tuple(reasons))
