"""Keys of every kind: what they sign verifies, and with one bit changed it does not."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519

from modelcar.errors import NotVerified, UsageError
from modelcar.signing.keys.algorithms import AnyPrivateKey, check_private, check_public
from modelcar.signing.keys.authority import KeyAuthority
from modelcar.signing.keys.key import PrivateKey, PublicKey
from tests.support.signing import KEY, OTHER_KEY, flip

MESSAGE = b"what is signed"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SIGNING: list[AnyPrivateKey] = [ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate(), RSA]


@pytest.mark.parametrize("key", SIGNING, ids=lambda key: type(key).__name__)
def test_what_a_key_signs_verifies(key: AnyPrivateKey) -> None:
    ours = PrivateKey(key)
    signature = ours.sign(MESSAGE)
    ours.public.verify(signature, MESSAGE)
    for bit in (0, 13, len(signature) * 8 - 1):
        with pytest.raises(NotVerified):
            ours.public.verify(flip(signature, bit), MESSAGE)
    for bit in (0, 13, len(MESSAGE) * 8 - 1):
        with pytest.raises(NotVerified):
            ours.public.verify(signature, flip(MESSAGE, bit))
    with pytest.raises(NotVerified):
        OTHER_KEY.public.verify(signature, MESSAGE)


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_larger_curves_verify_with_either_of_the_hashes_that_cosign_uses(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    public = PublicKey(key.public_key())
    for algorithm in (hashes.SHA256(), hashes.SHA384() if curve.key_size == 384 else hashes.SHA512()):
        signature = key.sign(MESSAGE, ec.ECDSA(algorithm))
        public.verify(signature, MESSAGE)
        with pytest.raises(NotVerified):
            public.verify(signature, flip(MESSAGE, 3))
    with pytest.raises(NotVerified):
        public.verify(key.sign(MESSAGE, ec.ECDSA(hashes.SHA1())), MESSAGE)  # noqa: S303  # what must be refused


def test_rsa_verifies_both_paddings() -> None:
    public = PublicKey(RSA.public_key())
    pss = RSA.sign(MESSAGE, padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32), hashes.SHA256())
    public.verify(pss, MESSAGE)
    with pytest.raises(NotVerified):
        public.verify(flip(pss, 5), MESSAGE)
    with pytest.raises(NotVerified):
        public.verify(RSA.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA1()), MESSAGE)  # noqa: S303  # what must be refused


def test_ed25519_verifies_prehashed_messages_too() -> None:
    """RFC 8032, section 7.3: the only vector of Ed25519ph. cosign signs like that."""
    public = PublicKey(ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf"
    )))  # fmt: skip
    signature = bytes.fromhex(
        "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"
        "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
    )
    public.verify(signature, b"abc")
    with pytest.raises(NotVerified):
        public.verify(flip(signature, 9), b"abc")
    with pytest.raises(NotVerified):
        public.verify(signature, b"abd")


@pytest.mark.parametrize("garbage", [b"", b"0", b"\x30\x00", b"\xff" * 64, b"\x00" * 72])
@pytest.mark.parametrize("key", SIGNING, ids=lambda key: type(key).__name__)
def test_what_is_no_signature_at_all(key: AnyPrivateKey, garbage: bytes) -> None:
    with pytest.raises(NotVerified):
        PrivateKey(key).public.verify(garbage, MESSAGE)


def test_names_of_a_key() -> None:
    key = KEY.public
    digest = hashlib.sha256(key.spki).digest()
    assert key.fingerprint == f"sha256:{digest.hex()}"
    assert base64.b64decode(key.hint) == digest
    assert key.kind == "ECDSA P-256"
    assert key == PublicKey(KEY._key.public_key())
    assert key != OTHER_KEY.public
    assert repr(KEY) == f"PrivateKey({key.fingerprint})"


def test_weak_and_unknown_keys_are_refused() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # what must be refused
    with pytest.raises(UsageError, match="1024 bits"):
        check_public(weak.public_key(), "k")
    with pytest.raises(UsageError, match="curve secp256k1"):
        check_public(ec.generate_private_key(ec.SECP256K1()).public_key(), "k")
    with pytest.raises(UsageError, match="unknown kind"):
        check_public(x25519.X25519PrivateKey.generate().public_key(), "k")
    with pytest.raises(UsageError, match="P-384 key, whose signatures verifiers read with different hashes"):
        check_private(ec.generate_private_key(ec.SECP384R1()), "k")
    with pytest.raises(UsageError, match="unknown kind"):
        check_private(x25519.X25519PrivateKey.generate(), "k")


def test_an_authority_needs_a_key() -> None:
    with pytest.raises(ValueError, match="needs a key"):
        KeyAuthority([])
