"""Those who sign: one small interface for keys, key management services and identities."""

from __future__ import annotations

from typing import Protocol

from modelcar.signing.bundle import key_bundle
from modelcar.signing.dsse import IN_TOTO, pre_authentication_encoding
from modelcar.signing.keys.authority import KeyAuthority
from modelcar.signing.keys.key import SigningKey
from modelcar.signing.statement import Statement
from modelcar.signing.verified import Authority, Bundle, SimpleSignature

__all__ = ["KeySignatory", "Signatory"]


class Signatory(Protocol):
    """Makes evidence that its own `authority` accepts."""

    @property
    def authority(self) -> Authority:
        """Recognises what this signatory signed, so that the same thing need not be signed twice."""

    def sign_statement(self, statement: Statement) -> Bundle:
        """A sigstore bundle over `statement`; its `raw` is what gets published."""

    def sign_payload(self, payload: bytes) -> SimpleSignature:
        """A signature over a simple-signing payload, with all annotations that its layer carries."""

    def __str__(self) -> str:
        """For people: the key's fingerprint, or the identity."""


class KeySignatory:
    """Signs with a key: no certificate, no transparency log, no network."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self.authority = KeyAuthority([key.public])

    def sign_statement(self, statement: Statement) -> Bundle:
        payload = statement.to_bytes()
        signature = self._key.sign(pre_authentication_encoding(IN_TOTO, payload))
        return key_bundle(payload, signature, self._key.public.hint)

    def sign_payload(self, payload: bytes) -> SimpleSignature:
        signature = self._key.sign(payload)
        return SimpleSignature.signed(payload, signature)

    def __str__(self) -> str:
        return str(self._key.public)
