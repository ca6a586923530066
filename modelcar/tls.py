"""TLS contexts from PEM files, for servers and clients; `Renewed` keeps one in step with its files.

```python
tls = Renewed("the certificate", lambda: server_context(certificate, key), (certificate, key))
...
tls.current().wrap_socket(connection, server_side=True)  # asked for anew with every connection
```
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Protocol

from modelcar.errors import StorageError, UsageError

__all__ = ["Contexts", "add_authorities", "add_identity", "client_context", "server_context", "subject_of", "verifying"]


class Contexts(Protocol):
    """`Renewed`, or whoever else has one that changes."""

    def current(self) -> ssl.SSLContext:
        """For a new connection."""


def server_context(certificate_file: Path, key_file: Path, client_ca_file: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer, for HTTP/1.1. With `client_ca_file` every client must show a certificate issued by one of it.

    Raises:
        StorageError: a file cannot be read.
        UsageError: it is not a certificate or key, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    add_identity(context, certificate_file, key_file)
    if client_ca_file is not None:
        add_authorities(context, client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca_file: Path | None = None, *, authorities: str | None = None) -> ssl.SSLContext:
    """For clients of registries and clusters, see `verifying`.

    Args:
        ca_file: trusted besides the system's.
        authorities: PEM, trusted instead of them.

    Raises:
        ssl.SSLError, ValueError: `authorities` is not PEM.
        StorageError, UsageError: as `server_context` of `ca_file`.
    """
    context = verifying(ssl.create_default_context(cadata=authorities))
    if ca_file is not None:
        add_authorities(context, ca_file)
    return context


def verifying(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context, which verifies chain, name and times, as clients in Go do, on every Python: 3.13 began to ask
    for extensions that certificates in use lack, such as those of EKS, whose authority has no key identifier."""
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def add_identity(context: ssl.SSLContext, certificate_file: Path, key_file: Path) -> None:
    """What we show of ourselves. Raises what `server_context` does."""
    for path in (certificate_file, key_file):
        _check_readable(path)  # OpenSSL does not say which of them it was
    try:
        context.load_cert_chain(certificate_file, key_file, password=_no_passphrase)
    except (OSError, ValueError):
        raise UsageError(
            f"{certificate_file} and {key_file} are not a certificate and its key",
            hint="both are PEM, the key without a passphrase; check `openssl x509 -in` and `openssl pkey -in`",
        ) from None


def add_authorities(context: ssl.SSLContext, ca_file: Path) -> None:
    """Whose certificates are good, on the other side. Raises what `server_context` does."""
    _check_readable(ca_file)
    try:
        context.load_verify_locations(ca_file)
    except OSError:
        raise UsageError(
            f"{ca_file} holds no PEM certificate", hint="it begins with -----BEGIN CERTIFICATE-----"
        ) from None


def subject_of(certificate: Any) -> str | None:
    """The name in the other side's verified certificate (`SSLSocket.getpeercert()`): its common name, else its first
    URI or DNS name."""
    if not certificate:
        return None
    for group in certificate.get("subject", ()):
        for name, value in group:
            if name == "commonName":
                return str(value)
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind in ("URI", "DNS")]
    return str(names[0]) if names else None


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as e:
        raise StorageError(f"cannot read {path}: {e.strerror}") from None


def _no_passphrase() -> str:
    """Else OpenSSL asks whoever sits at the terminal."""
    return ""
