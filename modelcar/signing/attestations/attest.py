"""Attaching statements to an image."""

from __future__ import annotations

from datetime import datetime

from modelcar.errors import InvalidDocument, NotVerified, UsageError
from modelcar.oci import Descriptor, Digest
from modelcar.signing.attach import attach_bundle
from modelcar.signing.attestations.oms import with_oms_hint
from modelcar.signing.attestations.predicate_types import MODEL_SIGNING
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.places import Place
from modelcar.signing.signatory import Signatory
from modelcar.signing.statement import COSIGN_SIGN, Statement
from modelcar.signing.verified import Bundle
from modelcar.signing.verify import verify_signature

__all__ = ["attach_statement", "check_not_hiding", "check_other_signer", "sign_statement"]


def check_other_signer(place: Place, digest: Digest, signatory: Signatory) -> None:
    """
    Raises:
        UsageError: `signatory` has signed this manifest. cosign takes any statement by a signer for that signer's
            signature, so whoever attests what they think of an image should not be who signs what may run.
    """
    try:
        verify_signature(digest=digest, evidence=gather_evidence(place, digest), authority=signatory.authority)
    except NotVerified:
        return
    raise UsageError(
        f"{signatory} has signed this image, and cosign would take its attestations for signatures as well",
        hint="attest with another key, or add --allow-same-signer",
    )


def check_not_hiding(place: Place, digest: Digest) -> None:
    """
    Raises:
        UsageError: the manifest has only a legacy signature. cosign looks for one only where no bundle is attached, so
            an attestation would hide it.
    """
    evidence = gather_evidence(place, digest)
    if evidence.simple and not any(_is_signature(bundle) for bundle in evidence.bundles):
        raise UsageError(
            "this image has only a legacy signature, which cosign no longer finds once a bundle is attached",
            hint="sign it with `modelcar sign` first, which writes both formats, or add --allow-hiding",
        )


def sign_statement(signatory: Signatory, statement: Statement) -> Bundle:
    """`statement` in a bundle, with the key named as verifiers of its type expect it.

    Raises:
        UsageError: it is larger than verifiers read.
    """
    try:
        Statement.parse(statement.to_bytes())
    except InvalidDocument as e:
        raise UsageError(
            f"the statement cannot be attested: {e}",
            hint="a manifest by whole files is smaller: build --content-digest",
        ) from None
    bundle = signatory.sign_statement(statement)
    return with_oms_hint(bundle, signatory) if statement.predicate_type == MODEL_SIGNING else bundle


def attach_statement(
    place: Place, subject: Descriptor, signatory: Signatory, statement: Statement, *, created: datetime
) -> tuple[Digest | None, Bundle]:
    """Sign `statement` and attach it to `subject`; returns the digest of what was attached, and the bundle in it.

    Where the same signatory attached the same statement before, nothing is, and that bundle is returned.

    Raises:
        UsageError: see `sign_statement`.
        WorldError: the place, or the service that signs, failed.
    """
    if (known := _attached(place, subject.digest, signatory, statement)) is not None:
        return None, known
    bundle = sign_statement(signatory, statement)
    return attach_bundle(place, subject, bundle, statement.predicate_type, created=created), bundle


def _attached(place: Place, digest: Digest, signatory: Signatory, statement: Statement) -> Bundle | None:
    for bundle in gather_evidence(place, digest).bundles:
        try:
            if Statement.parse(bundle.envelope.payload) == Statement.parse(statement.to_bytes()):
                signatory.authority.verify_bundle(bundle)
                return bundle
        except (InvalidDocument, NotVerified):
            continue
    return None


def _is_signature(bundle: Bundle) -> bool:
    try:
        return Statement.parse(bundle.envelope.payload).predicate_type == COSIGN_SIGN
    except InvalidDocument:
        return False
