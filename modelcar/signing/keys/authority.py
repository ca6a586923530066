"""Keys whose word is taken."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from modelcar.errors import NotVerified
from modelcar.signing.dsse import Envelope
from modelcar.signing.keys.key import PublicKey
from modelcar.signing.verified import Bundle, Signer, SimpleSignature

__all__ = ["KeyAuthority"]

_MAX_SIGNATURES = 16  # of one envelope; each is tried with every key


class KeyAuthority:
    """Any one of these keys suffices. Nothing says when they signed: keys do not expire and there is no trusted clock.

    Raises:
        ValueError: there is no key, which would be an authority that nobody can ever satisfy.
    """

    def __init__(self, keys: Iterable[PublicKey]) -> None:
        self.keys = tuple(dict.fromkeys(keys))
        if not self.keys:
            raise ValueError("an authority needs a key")

    def verify_bundle(self, bundle: Bundle) -> tuple[Signer, datetime | None]:
        if bundle.certificate is not None:
            raise NotVerified("it was signed with a certificate, not with a key")
        return self.verify_envelope(bundle.envelope)

    def verify_simple(self, signature: SimpleSignature) -> tuple[Signer, datetime | None]:
        return self._signer([signature.signature], signature.payload), None

    def verify_envelope(self, envelope: Envelope) -> tuple[Signer, datetime | None]:
        if len(envelope.signatures) > _MAX_SIGNATURES:
            raise NotVerified(f"the envelope has {len(envelope.signatures)} signatures, too many to try")
        return self._signer(envelope.signatures, envelope.signed), None

    def _signer(self, signatures: Iterable[bytes], message: bytes) -> Signer:
        for signature in signatures:
            for key in self.keys:
                try:
                    key.verify(signature, message)
                except NotVerified:
                    continue
                return Signer(fingerprint=key.fingerprint)
        raise NotVerified("it is signed by another key, or was changed since")

    def __str__(self) -> str:
        return " or ".join(str(key) for key in self.keys)
