"""What authorities confirm about the image at hand; each question is answered once, however many policies ask it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from modelcar.errors import ModelcarError, NotVerified
from modelcar.oci import Digest
from modelcar.signing.policy.authorities import AuthoritySpec
from modelcar.signing.policy.decision import AuthorityResult
from modelcar.signing.policy.resolve import Authorities
from modelcar.signing.policy.trust import Trust
from modelcar.signing.statement import COSIGN_SIGN
from modelcar.signing.verified import Evidence, Verified
from modelcar.signing.verify import verify_attestations, verify_signature

__all__ = ["Testimony", "Witnesses"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """Statements that were found, or else why not. `asked` is false where the authority could not be asked at all."""

    statements: tuple[Verified, ...] = ()
    reasons: tuple[str, ...] = ()
    asked: bool = True


class Witnesses:
    """Answers from the evidence about one image."""

    def __init__(self, evidence: Mapping[Digest, Evidence], authorities: Authorities) -> None:
        self._evidence = evidence
        self._authorities = authorities
        self._known: dict[tuple[Trust, str | None, Digest, str], Testimony] = {}

    def satisfy(self, spec: AuthoritySpec, trust: Trust, digest: Digest) -> AuthorityResult:
        """Whether `spec` is satisfied: by all of its attestations, or where it names none by a signature."""
        if spec.elsewhere is not None:
            reason = f"signatures at {spec.elsewhere} are not looked at; only those beside the image are"
            return AuthorityResult(name=spec.name, satisfied=False, reasons=(reason,))
        signers: list[str] = []
        for requirement in spec.attestations:
            if requirement.body is not None:
                reason = f"the {requirement.body} policy of attestation {requirement.name} cannot be evaluated here"
                return AuthorityResult(name=spec.name, satisfied=False, reasons=(reason,))
        for kind in [a.predicate_type for a in spec.attestations] or [COSIGN_SIGN]:
            testimony = self.hear(spec, trust, digest, kind)
            if not testimony.statements:
                return AuthorityResult(name=spec.name, satisfied=False, reasons=testimony.reasons)
            signers += [str(statement.signer) for statement in testimony.statements]
        return AuthorityResult(name=spec.name, satisfied=True, signers=tuple(dict.fromkeys(signers)))

    def hear(self, spec: AuthoritySpec, trust: Trust, digest: Digest, predicate_type: str) -> Testimony:
        """All that this authority says of this type about `digest`; of signatures, one."""
        key = (trust, spec.form, digest, predicate_type)
        if (known := self._known.get(key)) is None:
            known = self._known[key] = self._hear(spec, trust, digest, predicate_type)
        return known

    def everything_about(self) -> tuple[Digest, ...]:
        """The digests that evidence lies beside."""
        return tuple(self._evidence)

    def _hear(self, spec: AuthoritySpec, trust: Trust, digest: Digest, predicate_type: str) -> Testimony:
        evidence = _of_form(self._evidence.get(digest, Evidence()), spec.form)
        try:
            authority = self._authorities.find(trust)
        except ModelcarError as e:
            return Testimony(reasons=_lines(e), asked=False)
        try:
            if predicate_type == COSIGN_SIGN:
                return Testimony(statements=(verify_signature(digest=digest, evidence=evidence, authority=authority),))
            return Testimony(
                statements=verify_attestations(
                    digest=digest, predicate_type=predicate_type, evidence=evidence, authority=authority
                )
            )
        except NotVerified as e:
            return Testimony(reasons=_lines(e))
        except ModelcarError as e:  # no root of trust, a library that is missing: another authority may still do
            return Testimony(reasons=_lines(e), asked=False)


def _of_form(evidence: Evidence, form: str | None) -> Evidence:
    if form == "bundle":
        return replace(evidence, simple=(), envelopes=())
    return replace(evidence, bundles=()) if form == "legacy" else evidence


def _lines(error: ModelcarError) -> tuple[str, ...]:
    """The error as one line, with what it was made of."""
    details = f" ({'; '.join(error.reasons)})" if error.reasons else ""
    return (f"{error}{details}" + (f" — {error.hint}" if error.hint else ""),)
