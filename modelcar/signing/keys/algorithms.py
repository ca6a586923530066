"""Which signatures each kind of key makes and accepts: what cosign does with the same key.

Source: `LoadVerifier` and the algorithm registry of sigstore/sigstore (`pkg/signature`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from nacl.bindings import (
    crypto_sign_BYTES,
    crypto_sign_ed25519ph_final_verify,
    crypto_sign_ed25519ph_state,
    crypto_sign_ed25519ph_update,
)
from nacl.exceptions import BadSignatureError

from modelcar.errors import NotVerified, UsageError

__all__ = ["AnyPrivateKey", "AnyPublicKey", "check_private", "check_public", "check_signature", "describe", "sign"]

AnyPublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
AnyPrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

# cosign signs with the hash of the curve's size and verifies with SHA-256 unless told otherwise; both are sound.
_HASHES: Final[dict[str, tuple[hashes.HashAlgorithm, ...]]] = {
    "secp256r1": (hashes.SHA256(),),
    "secp384r1": (hashes.SHA384(), hashes.SHA256()),
    "secp521r1": (hashes.SHA512(), hashes.SHA256()),
}
_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_RSA_BITS: Final = range(2048, 8193)  # fewer are too weak; more make every verification slow
_PKCS1: Final = padding.PKCS1v15()
_PSS: Final = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.AUTO)


def check_public(key: object, where: str) -> AnyPublicKey:
    """`key`, if it is of a kind that we verify with. Raises `UsageError` naming `where` it came from."""
    if isinstance(key, rsa.RSAPublicKey) and key.key_size not in _RSA_BITS:
        raise UsageError(f"{where} is an RSA key of {key.key_size} bits; 2048 to 8192 are accepted")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in _HASHES:
        raise UsageError(f"{where} is on the curve {key.curve.name}; P-256, P-384 and P-521 are accepted")
    if not isinstance(key, AnyPublicKey):
        raise UsageError(f"{where} is of an unknown kind; ECDSA, Ed25519 and RSA keys are accepted")
    return key


def check_private(key: object, where: str) -> AnyPrivateKey:
    """`key`, if cosign verifies without further options what it signs. Raises `UsageError`."""
    if not isinstance(key, AnyPrivateKey):
        raise UsageError(f"{where} is of an unknown kind; ECDSA P-256, Ed25519 and RSA keys are accepted")
    check_public(key.public_key(), where)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name != "secp256r1":
        raise UsageError(
            f"{where} is an {describe(key.public_key())} key, whose signatures verifiers read with different hashes",
            hint="sign with a P-256 key: `modelcar keygen` makes one",
        )
    return key


def describe(key: AnyPublicKey) -> str:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {_CURVES.get(key.curve.name, key.curve.name)}"
    return f"RSA {key.key_size}" if isinstance(key, rsa.RSAPublicKey) else "Ed25519"


def sign(key: AnyPrivateKey, message: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, _PKCS1, hashes.SHA256())
    return key.sign(message)


def check_signature(key: AnyPublicKey, signature: bytes, message: bytes) -> None:
    """Return only if `signature` is one of those that this kind of key makes over `message`.

    Raises:
        NotVerified: it is not.
    """
    for attempt in _attempts(key, signature, message):
        with suppress(InvalidSignature):
            attempt()
            return
    raise NotVerified("the signature is another key's, or over other content")


def _attempts(key: AnyPublicKey, signature: bytes, message: bytes) -> list[Callable[[], None]]:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return [partial(key.verify, signature, message, ec.ECDSA(each)) for each in _HASHES[key.curve.name]]
    if isinstance(key, rsa.RSAPublicKey):
        return [partial(key.verify, signature, message, each, hashes.SHA256()) for each in (_PKCS1, _PSS)]
    return [partial(key.verify, signature, message), partial(_prehashed, key, signature, message)]


def _prehashed(key: ed25519.Ed25519PublicKey, signature: bytes, message: bytes) -> None:
    """Ed25519ph (RFC 8032), which cosign signs with and `cryptography` does not know."""
    if len(signature) != crypto_sign_BYTES:
        raise InvalidSignature
    state = crypto_sign_ed25519ph_state()
    crypto_sign_ed25519ph_update(state, message)
    try:
        crypto_sign_ed25519ph_final_verify(state, signature, key.public_bytes_raw())
    except BadSignatureError:
        raise InvalidSignature from None
