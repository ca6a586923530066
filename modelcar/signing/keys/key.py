"""What a key can do, and how it is named."""

from __future__ import annotations

import base64
import hashlib
from functools import cached_property
from typing import Final, Protocol

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from modelcar.signing.keys.algorithms import AnyPrivateKey, AnyPublicKey, check_signature, describe, sign

__all__ = ["PrivateKey", "PublicKey", "SigningKey"]


class PublicKey:
    """Verifies signatures. Two are equal if their `spki` (SubjectPublicKeyInfo, DER) is."""

    def __init__(self, key: AnyPublicKey) -> None:
        self._key: Final = key
        self.spki: Final = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @cached_property
    def fingerprint(self) -> str:
        """`sha256:<hex>` of the SPKI, as `openssl pkey -pubin -outform DER | sha256sum` shows it."""
        return f"sha256:{hashlib.sha256(self.spki).hexdigest()}"

    @cached_property
    def hint(self) -> str:
        """What cosign writes into bundles to say which key it was: base64 of the same hash."""
        return base64.b64encode(hashlib.sha256(self.spki).digest()).decode()

    @property
    def pem(self) -> bytes:
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def kind(self) -> str:
        """For people: `ECDSA P-256`, `RSA 3072`."""
        return describe(self._key)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return only if this key signed exactly `message`.

        Raises:
            NotVerified: it did not.
        """
        check_signature(self._key, signature, message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.spki == other.spki

    def __hash__(self) -> int:
        return hash(self.spki)

    def __str__(self) -> str:
        return f"key {self.fingerprint}"


class SigningKey(Protocol):
    """Anything that signs: a key in memory, or a service that keeps it and is asked."""

    @property
    def public(self) -> PublicKey: ...

    def sign(self, message: bytes) -> bytes:
        """A signature over `message` that `public` verifies (ECDSA: DER, over the SHA-256)."""


class PrivateKey:
    """A key in memory. Its representation shows the fingerprint only."""

    def __init__(self, key: AnyPrivateKey) -> None:
        self._key: Final = key
        self.public: Final = PublicKey(key.public_key())

    def sign(self, message: bytes) -> bytes:
        return sign(self._key, message)

    def pkcs8(self) -> bytes:
        """The key itself, unencrypted, as DER: only to be encrypted."""
        return self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def pkcs8_pem(self, password: bytes) -> bytes:
        """As `openssl pkcs8` writes it: encrypted, or plain if the password is empty."""
        encryption = BestAvailableEncryption(password) if password else NoEncryption()
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.fingerprint})"
