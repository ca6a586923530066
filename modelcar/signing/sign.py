"""Signing an image: its index and every manifest under it, so that each can be verified alone. Reads documents only."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from modelcar.errors import NotVerified
from modelcar.oci import Descriptor, Digest
from modelcar.signing.attach import attach_bundle, attach_signature
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.places import Place, documents
from modelcar.signing.signatory import Signatory
from modelcar.signing.simplesigning import simple_payload
from modelcar.signing.statement import COSIGN_SIGN, Statement
from modelcar.signing.verified import Evidence
from modelcar.signing.verify import verify_signature

__all__ = ["BOTH", "Format", "Signed", "sign_image"]


class Format(StrEnum):
    BUNDLE = "bundle"
    LEGACY = "legacy"


BOTH: Final = (Format.BUNDLE, Format.LEGACY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """One signature. Not `new` if this signatory's was there already, and nothing was written."""

    digest: Digest
    format: Format
    new: bool


def sign_image(
    place: Place, root: Descriptor, signatory: Signatory, *, formats: Collection[Format] = BOTH, created: datetime
) -> tuple[Signed, ...]:
    """Sign everything that the image at `root` consists of, children first, and attach the signatures at `place`.

    What the same signatory has signed there already is left as it is, so signing again adds nothing.

    Raises:
        InvalidContent: a document is not what its digest says; nothing that was not checked is signed.
        WorldError: the place, or the service that signs, failed. What was signed until then stays and is no harm.
    """
    signed = []
    for document in documents(place, root):
        evidence = gather_evidence(place, document.digest)
        if Format.BUNDLE in formats:
            signed.append(_sign_bundle(place, document, signatory, evidence, created))
        if Format.LEGACY in formats:
            signed.append(_sign_legacy(place, document.digest, signatory, evidence))
    return tuple(signed)


def _sign_bundle(
    place: Place, document: Descriptor, signatory: Signatory, evidence: Evidence, created: datetime
) -> Signed:
    new = not _has(document.digest, Evidence(bundles=evidence.bundles), signatory)
    if new:
        bundle = signatory.sign_statement(Statement.about(document.digest, COSIGN_SIGN))
        attach_bundle(place, document, bundle, COSIGN_SIGN, created=created)
    return Signed(digest=document.digest, format=Format.BUNDLE, new=new)


def _sign_legacy(place: Place, digest: Digest, signatory: Signatory, evidence: Evidence) -> Signed:
    """A payload names the repository, for verifiers that look at it: a signature for another one does not do."""
    payload = simple_payload(digest, place.repository)
    same = tuple(s for s in evidence.simple if s.payload == payload)
    new = not _has(digest, Evidence(simple=same), signatory)
    if new:
        attach_signature(place, digest, signatory.sign_payload(payload))
    return Signed(digest=digest, format=Format.LEGACY, new=new)


def _has(digest: Digest, evidence: Evidence, signatory: Signatory) -> bool:
    try:
        verify_signature(digest=digest, evidence=evidence, authority=signatory.authority)
    except NotVerified:
        return False
    return True
