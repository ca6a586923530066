"""Identities whose word is taken, as certified by a root of trust and recorded in its log."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from modelcar.errors import NotVerified, UsageError
from modelcar.signing.dsse import Envelope
from modelcar.signing.keyless.identity import CertificateIdentity, IdentityRule, identity_of
from modelcar.signing.keyless.library import one_line
from modelcar.signing.keyless.trust import TrustSource
from modelcar.signing.verified import Bundle, Signer, SimpleSignature

if TYPE_CHECKING:
    from sigstore.models import Bundle as LibraryBundle
    from sigstore.verify import Verifier

__all__ = ["KeylessAuthority", "UnsafeAnyIdentity"]


class UnsafeAnyIdentity:
    """Whoever the root of trust gave a certificate: on the public instance, everybody. Only for wrapping by an
    authority that looks at who it was.

    Checked by the library: the chain of certificates up to the root of trust at the time of signing, the certificate's
    own entry in a certificate log, the signature, its entry in the transparency log (inclusion proof, signed
    checkpoint, promise, and that the entry is about this very signature), timestamps.
    """

    rules: tuple[IdentityRule, ...] | None = None

    def __init__(self, trust: TrustSource) -> None:
        self._trust = trust
        self._lock = Lock()
        self._known: Verifier | None = None

    def prepare(self) -> None:
        """Load the root of trust now and not when the first signature is met. Raises as `TrustSource.verifier` does."""
        self._verifier()

    def verify_bundle(self, bundle: Bundle) -> tuple[Signer, datetime | None]:
        if bundle.certificate is None:
            raise NotVerified("it was signed with a key, not with a certificate")
        verifier = self._verifier()
        from sigstore.errors import CertValidationError
        from sigstore.models import Bundle as LibraryBundle

        policy = _Policy(self.rules)
        try:
            parsed = LibraryBundle.from_json(bundle.raw)
            kind, payload = verifier.verify_dsse(parsed, policy)
        except NotVerified:
            raise
        except CertValidationError as e:
            raise NotVerified(
                f"its certificate was not valid when it signed, or is not from this root of trust: {one_line(e)}"
            ) from None
        except Exception as e:  # whatever went wrong in there, nothing was verified
            raise NotVerified(f"the keyless signature is not valid: {one_line(e)}") from None
        _check_same(bundle, parsed, kind, payload)
        if policy.identity is None:
            raise NotVerified("the certificate's identity was not looked at")
        signer = Signer(identity=policy.identity.subject, issuer=policy.identity.issuer)
        return signer, _signed_at(parsed)

    def verify_simple(self, signature: SimpleSignature) -> tuple[Signer, datetime | None]:
        if "dev.sigstore.cosign/certificate" not in signature.annotations:
            raise NotVerified("it was signed with a key, not with a certificate")
        raise NotVerified(
            "a legacy keyless signature carries no proof that the log holds it, so it cannot be verified offline",
            hint="sign with cosign 3 or with modelcar, which attach a bundle",
        )

    def verify_envelope(self, envelope: Envelope) -> tuple[Signer, datetime | None]:  # noqa: ARG002  # the protocol's
        raise NotVerified("a legacy attestation carries no proof that the log holds it", hint="attach it as a bundle")

    def _verifier(self) -> Verifier:
        """Made once; a failure is not remembered, since a network may come back."""
        with self._lock:
            if self._known is None:
                self._known = self._trust.verifier()
            return self._known

    def __str__(self) -> str:
        return "anybody with a certificate"


class KeylessAuthority(UnsafeAnyIdentity):
    """Any one of these identities suffices, whatever the order.

    Raises:
        UsageError: there is no identity, which would be an authority that nobody can ever satisfy.
    """

    def __init__(self, identities: Iterable[IdentityRule], trust: TrustSource) -> None:
        super().__init__(trust)
        self.rules = tuple(identities)
        if not self.rules:
            raise UsageError("a keyless authority needs an identity", hint="name a subject and an issuer")

    def __str__(self) -> str:
        return " or ".join(str(rule) for rule in self.rules or ())


class _Policy:
    """The library's `VerificationPolicy`: raises unless a rule fits, and remembers who it was.

    `rules` is `None` where anybody will do, never empty.
    """

    def __init__(self, rules: tuple[IdentityRule, ...] | None) -> None:
        self._rules = rules
        self.identity: CertificateIdentity | None = None

    def verify(self, cert: x509.Certificate) -> None:
        identity = identity_of(cert)
        if self._rules is not None:
            mismatches = [rule.mismatch(identity) for rule in self._rules]
            if None not in mismatches:
                reasons = tuple(dict.fromkeys(filter(None, mismatches)))
                raise NotVerified(f"it was signed by someone else: {'; '.join(reasons)}")
        self.identity = identity


def _check_same(bundle: Bundle, parsed: LibraryBundle, kind: str, payload: bytes) -> None:
    """Two parsers read this bundle: what the one verified must be what the other hands on."""
    envelope = bundle.envelope
    certificate = parsed.signing_certificate.public_bytes(Encoding.DER)
    if (
        (kind, payload) != (envelope.payload_type, envelope.payload)
        or (parsed.signature,) != envelope.signatures
        or certificate != bundle.certificate
    ):
        raise NotVerified("the bundle reads differently to different programs")


def _signed_at(parsed: LibraryBundle) -> datetime:
    """When it was signed, not later than verified: by the log's clock, else the start of the certificate's validity.

    A timestamping service's time is not taken itself: among several timestamps, the verifier does not say which held.
    """
    entry = json.loads(parsed.to_json())["verificationMaterial"]["tlogEntries"][0]  # as the library understood it
    integrated = int(entry.get("integratedTime") or 0)
    if integrated and entry.get("inclusionPromise"):
        return datetime.fromtimestamp(integrated, tz=UTC)
    return parsed.signing_certificate.not_valid_before_utc
