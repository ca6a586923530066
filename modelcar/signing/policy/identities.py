"""Identities of keyless signers: whom an issuer must have vouched for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modelcar.errors import NotVerified, UsageError
from modelcar.signing.dsse import Envelope
from modelcar.signing.policy.fields import ClosedFields
from modelcar.signing.regexes import Regex
from modelcar.signing.verified import Authority, Bundle, Signer, SimpleSignature

__all__ = ["Identity", "IdentityAuthority", "parse_identities"]

_FIELDS: Final = ("issuer", "issuerRegExp", "subject", "subjectRegExp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """An issuer and a subject; a text is compared as it is, an expression matches the whole."""

    issuer: str | Regex
    subject: str | Regex

    def mismatch(self, signer: Signer) -> str | None:
        """Why `signer` is not this identity; `None` if it is."""
        if not signer.identity or not signer.issuer:
            return "the signature is by a key, not by an identity"
        return _mismatch("issuer", self.issuer, signer.issuer) or _mismatch("subject", self.subject, signer.identity)

    def __str__(self) -> str:
        return f"{_shown(self.subject)} ({_shown(self.issuer)})"


class IdentityAuthority:
    """Those of another authority's signers that are one of `identities`."""

    def __init__(self, inner: Authority, identities: tuple[Identity, ...]) -> None:
        if not identities:
            raise ValueError("an authority needs an identity")
        self._inner = inner
        self._identities = identities

    def verify_bundle(self, bundle: Bundle) -> tuple[Signer, datetime | None]:
        return self._checked(*self._inner.verify_bundle(bundle))

    def verify_simple(self, signature: SimpleSignature) -> tuple[Signer, datetime | None]:
        return self._checked(*self._inner.verify_simple(signature))

    def verify_envelope(self, envelope: Envelope) -> tuple[Signer, datetime | None]:
        return self._checked(*self._inner.verify_envelope(envelope))

    def _checked(self, signer: Signer, signed_at: datetime | None) -> tuple[Signer, datetime | None]:
        mismatches = [identity.mismatch(signer) for identity in self._identities]
        if None not in mismatches:
            raise NotVerified(f"signed by {signer}: {'; '.join(m for m in mismatches if m)}")
        return signer, signed_at

    def __str__(self) -> str:
        return " or ".join(str(identity) for identity in self._identities)


def parse_identities(fields: ClosedFields) -> tuple[Identity, ...]:
    """`identities` of a keyless authority; there is at least one."""
    return tuple(
        Identity(issuer=_condition(each, "issuer"), subject=_condition(each, "subject"))
        for each in fields.some_objects("identities", _FIELDS)
    )


def _condition(fields: ClosedFields, name: str) -> str | Regex:
    expression = f"{name}RegExp"
    if (which := fields.one_of(name, expression)) == name:
        return fields.text(name)
    try:
        return Regex(fields.text(which))
    except UsageError as e:
        raise fields.fail(which, f"is wrong: {e}", hint=e.hint) from None


def _mismatch(what: str, expected: str | Regex, actual: str) -> str | None:
    if isinstance(expected, str):
        return None if expected == actual else f"the {what} is not {expected}"
    if expected.matches(actual):
        return None
    if expected.occurs_in(actual):
        return f"{expected.pattern} matches a part of the {what} only (end it in .* if that was meant)"
    return f"the {what} does not match {expected.pattern}"


def _shown(condition: str | Regex) -> str:
    return condition if isinstance(condition, str) else f"/{condition.pattern}/"
