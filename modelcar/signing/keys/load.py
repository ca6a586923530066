"""Where keys are found: a file, an environment variable (`env://NAME`), or a service (`awskms://…`) through a plug-in.

A plug-in is an entry point in the group `modelcar.keys`, named after the scheme. It is called with the whole reference
and returns a `ServiceKey`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol

from modelcar.errors import ModelcarError, NotVerified, UsageError, WorldError
from modelcar.signing.keys.key import PublicKey, SigningKey
from modelcar.signing.keys.pem import Password, is_private, parse_private, parse_public

__all__ = ["PLUGINS", "ServiceKey", "load_public_key", "load_signing_key"]

PLUGINS: Final = "modelcar.keys"
_MAX_SIZE: Final = 64 << 10  # bytes of a key file
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://")


class ServiceKey(Protocol):
    """What a plug-in returns: a key that never leaves its service."""

    def public_key(self) -> bytes:
        """The public key, PEM."""

    def sign(self, message: bytes) -> bytes:
        """A signature over `message` (ECDSA P-256: DER, over its SHA-256; RSA: PKCS#1 v1.5 over its SHA-256)."""


def load_signing_key(reference: str, password: Password) -> SigningKey:
    """The private key that `reference` names.

    Raises:
        UsageError: there is none, it is not a private key, or the password is wrong.
        WorldError: the service that keeps it failed.
    """
    _check_names_a_key(reference)
    scheme = _scheme(reference)
    if scheme and scheme != "env":
        return _Remote(reference, _plugin(scheme, reference))
    return parse_private(_read(reference, scheme), reference, password)


def load_public_key(reference: str, password: Password) -> PublicKey:
    """The public key that `reference` names, or that belongs to the private key there.

    Raises: as `load_signing_key`.
    """
    _check_names_a_key(reference)
    scheme = _scheme(reference)
    if scheme and scheme != "env":
        return _Remote(reference, _plugin(scheme, reference)).public
    pem = _read(reference, scheme)
    return parse_private(pem, reference, password).public if is_private(pem) else parse_public(pem, reference)


class _Remote:
    """A `SigningKey` in a service. Its signatures are checked: services are set up for other algorithms, too."""

    def __init__(self, reference: str, key: ServiceKey) -> None:
        self._reference = reference
        self._key = key
        self.public = parse_public(_ask(reference, key.public_key), reference)

    def sign(self, message: bytes) -> bytes:
        signature = _ask(self._reference, partial(self._key.sign, message))
        try:
            self.public.verify(signature, message)
        except NotVerified:
            raise WorldError(f"{self._reference} returned a signature that its own public key refuses") from None
        return signature


def _ask(reference: str, question: Callable[[], bytes]) -> bytes:
    """A plug-in's answer; whatever it raises is the service's failure, in one line."""
    try:
        return bytes(question())
    except ModelcarError:
        raise
    except Exception as e:
        raise WorldError(f"{reference}: {type(e).__name__}: {e}") from None


def _plugin(scheme: str, reference: str) -> ServiceKey:
    available = {point.name: point for point in entry_points(group=PLUGINS)}
    if scheme not in available:
        known = ", ".join(f"{name}://" for name in ["env", *sorted(available)])
        raise UsageError(
            f"{reference}: nothing installed knows keys of the kind {scheme}://",
            hint=f"a file, or one of {known}; plug-ins register under `{PLUGINS}`",
        )
    try:
        key: ServiceKey = available[scheme].load()(reference)
    except ModelcarError:
        raise
    except Exception as e:
        raise WorldError(f"{reference}: {type(e).__name__}: {e}") from None
    return key


def _check_names_a_key(reference: str) -> None:
    """Refuse a key in the place of its name, without repeating it: messages end up in logs."""
    if not reference:
        raise UsageError("an empty name names no key", hint="--key takes a file or env://NAME")
    name = reference.removeprefix("env://")
    if "PRIVATE KEY-----" in reference or "\n" in reference:
        raise UsageError(
            "a key itself was given where the name of one belongs",
            hint="--key takes a file or env://NAME; if it was a private key, others may have seen it: replace the pair",
        )
    if name != reference and not _VARIABLE.fullmatch(name):
        raise UsageError("env:// is not followed by the name of a variable", hint="such as env://SIGNING_KEY")


def _scheme(reference: str) -> str | None:
    match = _SCHEME.match(reference)
    return match[1] if match else None


def _read(reference: str, scheme: str | None) -> bytes:
    if scheme == "env":
        name = reference.removeprefix("env://")
        if (value := os.environ.get(name)) is None:
            raise UsageError(f"the environment has no variable {name!r} with a key")
        return os.fsencode(value)
    try:
        with Path(reference).open("rb") as f:
            content = f.read(_MAX_SIZE + 1)
    except OSError as e:
        raise UsageError(f"cannot read the key {reference}: {e.strerror}") from None
    if len(content) > _MAX_SIZE:
        raise UsageError(f"{reference} has more than {_MAX_SIZE >> 10} KiB: it is not a key")
    return content
