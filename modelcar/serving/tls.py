"""A listener's TLS: certificates from files, read again when they change."""

from __future__ import annotations

import logging
import ssl
import time
from pathlib import Path
from typing import Any, Final, Protocol

from modelcar.errors import ModelcarError, StorageError, UsageError
from modelcar.serving.settings import Tls
from modelcar.serving.stamps import Stamps, stamps_of

__all__ = ["Contexts", "ServerTls", "subject_of"]

_LOOK_SECONDS: Final = 1.0
_log = logging.getLogger("modelcar.serving")


class Contexts(Protocol):
    def context(self) -> ssl.SSLContext:
        """For a new connection."""


class ServerTls:
    """The current context for new connections. A renewal that cannot be used is logged and the old one goes on.

    Raises:
        StorageError: a file cannot be read.
        UsageError: it is not a certificate or key, or they do not belong together.
    """

    def __init__(self, settings: Tls) -> None:
        self._settings = settings
        self._seen = self._stamps()
        self._context = _load(settings)
        self._next_look = time.monotonic() + _LOOK_SECONDS

    def adopt(self, settings: Tls) -> None:
        """Take these files from now on. Raises what the constructor does, and changes nothing then."""
        self._context = _load(settings)
        self._settings = settings
        self._seen = self._stamps()

    def context(self) -> ssl.SSLContext:
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_SECONDS
            self._renew()
        return self._context

    def _renew(self) -> None:
        now = self._stamps()
        if now == self._seen:
            return
        self._seen = now  # tried once; half of a pair that is being replaced is followed by the other half
        try:
            self._context = _load(self._settings)
        except ModelcarError as e:
            _log.error("the certificate is not renewed: %s", e)
        else:
            _log.info("the certificate was read again from %s", self._settings.certificate_file)

    def _stamps(self) -> Stamps:
        settings = self._settings
        return stamps_of((settings.certificate_file, settings.key_file, settings.client_ca_file))


def _load(settings: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    for path in (settings.certificate_file, settings.key_file, settings.client_ca_file):
        _check_readable(path)
    try:
        context.load_cert_chain(settings.certificate_file, settings.key_file, password=_no_passphrase)
    except (ssl.SSLError, OSError, ValueError):
        raise UsageError(
            f"{settings.certificate_file} and {settings.key_file} are not a certificate and its key",
            hint="both are PEM, the key without a passphrase; check `openssl x509 -in` and `openssl pkey -in`",
        ) from None
    if settings.client_ca_file is not None:
        try:
            context.load_verify_locations(settings.client_ca_file)
        except (ssl.SSLError, OSError):
            raise UsageError(f"{settings.client_ca_file} has no certificates in PEM") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_readable(path: Path | None) -> None:
    if path is None:
        return
    try:
        with path.open("rb"):
            pass
    except OSError as e:
        raise StorageError(f"cannot read {path}: {e.strerror}") from None


def _no_passphrase() -> str:
    """Else OpenSSL asks whoever sits at the terminal."""
    return ""


def subject_of(certificate: Any) -> str | None:
    """The name in a client's verified certificate (`SSLSocket.getpeercert()`): its common name, else its first URI or
    DNS name."""
    if not certificate:
        return None
    for group in certificate.get("subject", ()):
        for name, value in group:
            if name == "commonName":
                return str(value)
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind in ("URI", "DNS")]
    return str(names[0]) if names else None
