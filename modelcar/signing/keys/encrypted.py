"""cosign's own encryption of private keys: scrypt, then NaCl's secret box, as JSON.

Source: go-securesystemslib `encrypted/encrypted.go`.
"""

from __future__ import annotations

import json
import os
from typing import Final

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from modelcar.errors import InvalidDocument, UsageError
from modelcar.oci import parse_object
from modelcar.oci.document import Fields
from modelcar.signing.encoding import decode_base64, encode_base64

__all__ = ["decrypt", "encrypt"]

_SALT_SIZE: Final = 32
_COST: Final = 1 << 16
_BLOCK: Final = 8
# The only parameters that cosign writes or reads. Memory is 128 * N * r bytes, so a file that may choose them could
# take all of the machine's.
_ACCEPTED: Final = frozenset({(1 << 15, _BLOCK, 1), (_COST, _BLOCK, 1), (1 << 17, _BLOCK, 1)})
_MAX_SIZE: Final = 64 << 10  # bytes
_WHERE: Final = "the encrypted key"


def encrypt(plaintext: bytes, password: bytes) -> bytes:
    """`plaintext` (a PKCS#8 key, DER) as cosign's JSON; 64 MiB and about 0.2 s are spent on the password."""
    salt, nonce = os.urandom(_SALT_SIZE), os.urandom(SecretBox.NONCE_SIZE)
    box = SecretBox(_derive(password, salt, _COST, _BLOCK, 1))
    document = {
        "kdf": {
            "name": "scrypt",
            "params": {"N": _COST, "r": _BLOCK, "p": 1},
            "salt": encode_base64(salt),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": encode_base64(nonce)},
        "ciphertext": encode_base64(box.encrypt(plaintext, nonce).ciphertext),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def decrypt(document: bytes, password: bytes) -> bytes:
    """The plaintext of what `encrypt`, or cosign, wrote.

    Raises:
        InvalidDocument: it is something else, or wants parameters that cosign never writes.
        UsageError: the password is wrong (or the file was changed, which looks the same).
    """
    fields = Fields(parse_object(document, _WHERE, limit=_MAX_SIZE), _WHERE)
    kdf, cipher = _object(fields, "kdf"), _object(fields, "cipher")
    if (methods := (kdf.text("name"), cipher.text("name"))) != ("scrypt", "nacl/secretbox"):
        raise InvalidDocument(f"{_WHERE} uses {methods[0]} and {methods[1]}; scrypt and nacl/secretbox are understood")
    params = _object(kdf, "params")
    chosen = (params.size("N"), params.size("r"), params.size("p"))
    if chosen not in _ACCEPTED:
        raise InvalidDocument(f"{_WHERE} wants scrypt with N={chosen[0]}, r={chosen[1]}, p={chosen[2]}: not cosign's")
    nonce = decode_base64(cipher.text("nonce"), f"{cipher.path}.nonce")
    if len(nonce) != SecretBox.NONCE_SIZE:
        raise InvalidDocument(f"{cipher.path}.nonce has {len(nonce)} bytes where {SecretBox.NONCE_SIZE} belong")
    salt = decode_base64(kdf.text("salt"), f"{kdf.path}.salt")
    box = SecretBox(_derive(password, salt, *chosen))
    try:
        return box.decrypt(decode_base64(fields.text("ciphertext"), f"{_WHERE}.ciphertext"), nonce)
    except CryptoError:
        raise UsageError("the password is wrong, or the key file is damaged") from None


def _derive(password: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=SecretBox.KEY_SIZE, n=n, r=r, p=p).derive(password)


def _object(fields: Fields, name: str) -> Fields:
    inner = fields.optional_object(name)
    if inner is None:
        raise InvalidDocument(f"{fields.path}.{name} is missing")
    return inner
