"""Whom a Fulcio certificate names, and rules about who it has to be.

Source: Fulcio's `oid-info.md`; sigstore policy-controller's `identities`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509

from modelcar.errors import NotVerified, UsageError

if TYPE_CHECKING:
    from modelcar.signing.regexes import Regex

__all__ = ["CertificateIdentity", "IdentityRule", "identity_of"]

_ISSUER: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")  # bare text; deprecated, still written
_ISSUER_V2: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")  # DER UTF8String
_OTHER_NAME: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7")
_UTF8_STRING: Final = 0x0C
_MAX_NAME: Final = 4096  # characters; bounds what regular expressions are run over


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateIdentity:
    """Who a certificate was issued to, and which OpenID Connect issuer vouched for them."""

    subject: str
    issuer: str


class IdentityRule:
    """A subject and an issuer, each as exact text or as a regular expression that must match all of it.

    cosign and policy-controller search with expressions, so that `acme.com` there also accepts `acme.com.evil.org`.
    """

    def __init__(
        self,
        *,
        subject: str | None = None,
        subject_regexp: str | None = None,
        issuer: str | None = None,
        issuer_regexp: str | None = None,
    ) -> None:
        """
        Raises:
            UsageError: subject or issuer is given twice or not at all, or an expression is malformed.
        """
        self._subject = _condition("subject", subject, subject_regexp)
        self._issuer = _condition("issuer", issuer, issuer_regexp)

    def mismatch(self, identity: CertificateIdentity) -> str | None:
        """Why `identity` is not who this rule is about; `None` if it is."""
        if not self._issuer.matches(identity.issuer):
            return f"issuer is {identity.issuer}, not {self._issuer}"
        if not self._subject.matches(identity.subject):
            return f"identity is {identity.subject}, not {self._subject}"
        return None

    def __str__(self) -> str:
        return f"{self._subject} ({self._issuer})"


@dataclass(frozen=True, slots=True)
class _Condition:
    """What a name has to be. Its text says so."""

    text: str
    expression: Regex | None = None

    def matches(self, name: str) -> bool:
        return self.expression.matches(name) if self.expression is not None else name == self.text

    def __str__(self) -> str:
        return f"/{self.text}/" if self.expression is not None else self.text


def _condition(what: str, exact: str | None, expression: str | None) -> _Condition:
    if (exact is None) == (expression is None):
        raise UsageError(f"an identity needs its {what} either exactly or as a regular expression")
    if exact:
        return _Condition(exact)
    if not expression:
        raise UsageError(f"an identity's {what} is empty")
    from modelcar.signing.regexes import Regex

    try:
        return _Condition(expression, Regex(expression))
    except UsageError as e:
        raise UsageError(f"the {what}: {e}", hint=e.hint) from None


def identity_of(certificate: x509.Certificate) -> CertificateIdentity:
    """What `certificate` says; that it may say so is for others to verify.

    Raises:
        NotVerified: it names no one, several, no issuer, or two issuers that differ.
    """
    return CertificateIdentity(subject=_subject(certificate), issuer=_issuer(certificate))


def _subject(certificate: x509.Certificate) -> str:
    try:
        names = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        raise NotVerified("the certificate names no identity") from None
    if len(names) != 1:
        raise NotVerified(f"the certificate names {len(names)} identities where one is allowed")
    name = names[0]
    if isinstance(name, x509.RFC822Name | x509.UniformResourceIdentifier):
        return _text(name.value, "identity")
    if isinstance(name, x509.OtherName) and name.type_id == _OTHER_NAME:
        return _text(_utf8_string(name.value, "identity"), "identity")
    raise NotVerified("the certificate's identity is neither an e-mail address nor a URI")


def _issuer(certificate: x509.Certificate) -> str:
    old, new = _extension(certificate, _ISSUER), _extension(certificate, _ISSUER_V2)
    issuers = set()
    if new is not None:
        issuers.add(_text(_utf8_string(new, "issuer"), "issuer"))
    if old is not None:
        issuers.add(_text(_utf8(old, "issuer"), "issuer"))
    if len(issuers) != 1:
        raise NotVerified("the certificate names " + ("two different issuers" if issuers else "no issuer"))
    return issuers.pop()


def _extension(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> bytes | None:
    try:
        value = certificate.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return None
    except (x509.DuplicateExtension, ValueError):
        raise NotVerified("the certificate's extensions cannot be read") from None
    return value.value if isinstance(value, x509.UnrecognizedExtension) else None


def _utf8_string(der: bytes, what: str) -> str:
    """The text of a DER UTF8String of at most 65,535 bytes."""
    if len(der) < 2 or der[0] != _UTF8_STRING:
        raise NotVerified(f"the certificate's {what} is not a UTF8String")
    extra = der[1] - 0x80 if der[1] > 0x80 else 0
    length = int.from_bytes(der[2 : 2 + extra], "big") if extra else der[1]
    if extra > 2 or (extra and length < 0x80) or len(der) != 2 + extra + length:
        raise NotVerified(f"the certificate's {what} is not a UTF8String")
    return _utf8(der[2 + extra :], what)


def _utf8(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise NotVerified(f"the certificate's {what} is not UTF-8") from None


def _text(value: str, what: str) -> str:
    if not value or len(value) > _MAX_NAME or not value.isprintable():
        raise NotVerified(f"the certificate's {what} is empty, too long or not printable")
    return value
