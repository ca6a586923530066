"""Signing an image: its index and every manifest under it, so that each can be verified alone. Reads documents only."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Final

from modelcar.errors import NotVerified
from modelcar.oci import Descriptor, Digest
from modelcar.registry.cancel import run_parallel
from modelcar.signing.attach import attach_bundle, attach_signature
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.places import Place, documents
from modelcar.signing.signatory import Signatory
from modelcar.signing.simplesigning import simple_payload
from modelcar.signing.statement import COSIGN_SIGN, Statement
from modelcar.signing.verified import Bundle, Evidence, SimpleSignature
from modelcar.signing.verify import verify_signature

__all__ = ["BOTH", "Format", "Signed", "sign_image"]


class Format(StrEnum):
    BUNDLE = "bundle"
    LEGACY = "legacy"


BOTH: Final = (Format.BUNDLE, Format.LEGACY)
_WORKERS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """One signature. Not `new` if this signatory's was there already, and nothing was written."""

    digest: Digest
    format: Format
    new: bool


def sign_image(
    place: Place, root: Descriptor, signatory: Signatory, *, formats: Collection[Format] = BOTH, created: datetime
) -> tuple[Signed, ...]:
    """Sign everything that the image at `root` consists of, and attach the signatures at `place`, the root's last.

    What the same signatory has signed there already is left as it is, so signing again adds nothing. All is signed
    before anything is attached.

    Raises:
        InvalidContent: a document is not what its digest says; nothing that was not checked is signed.
        WorldError: the place, or the service that signs, failed. What was attached until then stays and is no harm.
    """
    found = documents(place, root)
    evidence: dict[Digest, Evidence] = {}

    def gather(digest: Digest) -> None:
        evidence[digest] = gather_evidence(place, digest)

    run_parallel([partial(gather, document.digest) for document in found], _WORKERS)
    wanted = [form for form in Format if form in formats]
    made = [_sign(place, document, form, signatory, evidence[document.digest]) for document in found for form in wanted]
    of_root = [m for m in made if m.document.digest == root.digest]
    parts = [m for m in made if m.document.digest != root.digest]
    for group in (parts, of_root):
        run_parallel([partial(m.attach, place, created) for m in group], _WORKERS)
    return tuple(Signed(digest=m.document.digest, format=m.format, new=m.evidence is not None) for m in made)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What was signed and is to be attached; without `evidence` it is there already."""

    document: Descriptor
    format: Format
    evidence: Bundle | SimpleSignature | None

    def attach(self, place: Place, created: datetime) -> None:
        if isinstance(self.evidence, Bundle):
            attach_bundle(place, self.document, self.evidence, COSIGN_SIGN, created=created)
        elif self.evidence is not None:
            attach_signature(place, self.document.digest, self.evidence)


def _sign(place: Place, document: Descriptor, form: Format, signatory: Signatory, known: Evidence) -> _Made:
    new: Bundle | SimpleSignature | None
    if form is Format.BUNDLE:
        new = _bundle(document.digest, signatory, known)
    else:
        new = _legacy(place.repository, document.digest, signatory, known)
    return _Made(document=document, format=form, evidence=new)


def _bundle(digest: Digest, signatory: Signatory, known: Evidence) -> Bundle | None:
    if _has(digest, Evidence(bundles=known.bundles), signatory):
        return None
    return signatory.sign_statement(Statement.about(digest, COSIGN_SIGN))


def _legacy(repository: str, digest: Digest, signatory: Signatory, known: Evidence) -> SimpleSignature | None:
    """A payload names the repository, for verifiers that look at it: a signature for another one does not do."""
    payload = simple_payload(digest, repository)
    same = tuple(s for s in known.simple if s.payload == payload)
    return None if _has(digest, Evidence(simple=same), signatory) else signatory.sign_payload(payload)


def _has(digest: Digest, evidence: Evidence, signatory: Signatory) -> bool:
    try:
        verify_signature(digest=digest, evidence=evidence, authority=signatory.authority)
    except NotVerified:
        return False
    return True
