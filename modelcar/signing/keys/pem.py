"""Keys as text: PKCS#8, plain or encrypted, cosign's own encryption, and public keys."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from modelcar.errors import InvalidDocument, UsageError
from modelcar.signing.keys.algorithms import check_private, check_public
from modelcar.signing.keys.encrypted import decrypt, encrypt
from modelcar.signing.keys.key import PrivateKey, PublicKey

__all__ = ["Password", "cosign_pem", "is_private", "parse_private", "parse_public"]

Password = Callable[[], bytes]
"""Asks for a key's password; called only if the key is encrypted."""

_COSIGN: Final = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_PKCS8, _PKCS8_ENCRYPTED, _PUBLIC = "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "PUBLIC KEY"
_TRADITIONAL: Final = ("EC PRIVATE KEY", "RSA PRIVATE KEY")
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END \1-----")


def is_private(pem: bytes) -> bool:
    """Whether the first PEM block, if there is one, holds a private key."""
    match = _BLOCK.search(pem)
    return match is not None and match[1].endswith(b"PRIVATE KEY")


def parse_private(pem: bytes, where: str, password: Password) -> PrivateKey:
    """A private key in any of the forms that cosign and openssl write.

    Args:
        where: names the key in messages.

    Raises:
        UsageError: it is none, is of a kind that we do not sign with, or the password is wrong.
        InvalidDocument: it is damaged.
    """
    kind, content = _block(pem, where)
    if kind in _COSIGN:
        content = _decrypted(content, where, password())
    elif kind == _PUBLIC:
        raise UsageError(f"{where} is a public key; signing needs the private one")
    elif kind not in (_PKCS8, _PKCS8_ENCRYPTED, *_TRADITIONAL):
        raise UsageError(f"{where} holds a {kind}, not a private key")
    try:
        key = load_der_private_key(content, password() if kind == _PKCS8_ENCRYPTED else None)
    except ValueError:
        if kind == _PKCS8_ENCRYPTED:
            raise UsageError(f"{where}: the password is wrong, or the key file is damaged") from None
        raise InvalidDocument(f"{where} is not a private key in PKCS#8") from None
    except (TypeError, UnsupportedAlgorithm) as e:
        raise UsageError(f"{where} cannot be read: {e}") from None
    return PrivateKey(check_private(key, where))


def parse_public(pem: bytes, where: str) -> PublicKey:
    """A public key (`BEGIN PUBLIC KEY`).

    Raises:
        UsageError: it is none, or of a kind that we do not verify with.
        InvalidDocument: it is damaged.
    """
    kind, content = _block(pem, where)
    if kind != _PUBLIC:
        raise UsageError(f"{where} holds a {kind}, not a public key")
    try:
        key = load_der_public_key(content)
    except ValueError:
        raise InvalidDocument(f"{where} is not a public key") from None
    except UnsupportedAlgorithm as e:
        raise UsageError(f"{where} cannot be read: {e}") from None
    return PublicKey(check_public(key, where))


def cosign_pem(key: PrivateKey, password: bytes) -> bytes:
    """`key` as `cosign generate-key-pair` writes it. The password may be empty, as there."""
    return _pem(_COSIGN[0], encrypt(key.pkcs8(), password))


def _decrypted(content: bytes, where: str, password: bytes) -> bytes:
    try:
        return decrypt(content, password)
    except UsageError as e:
        raise UsageError(f"{where}: {e}", hint=e.hint) from None
    except InvalidDocument as e:
        raise InvalidDocument(f"{where}: {e}", hint=e.hint) from None


def _block(pem: bytes, where: str) -> tuple[str, bytes]:
    """Kind and content of the only PEM block."""
    blocks = _BLOCK.findall(pem)
    if len(blocks) != 1:
        raise UsageError(f"{where} holds {len(blocks)} PEM blocks where one key belongs")
    kind, text = blocks[0]
    try:
        return kind.decode(), base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        raise InvalidDocument(f"{where} is damaged: it is not base64 within its frame") from None


def _pem(kind: str, content: bytes) -> bytes:
    text = base64.b64encode(content).decode()
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""]).encode()
