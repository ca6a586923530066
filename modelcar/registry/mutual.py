"""TLS among nodes that prove to each other that they belong together.

Nodes come and go, and are reached by addresses that no certificate lists. So it is not the address that counts: their
certificates come from an authority that issues nothing else, and carry a name that all of them have in common.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelcar.errors import UsageError
from modelcar.tls import add_authorities, add_identity

__all__ = ["MutualTls"]

_NAMES: Final = ("DNS", "URI")


@dataclass(frozen=True, slots=True, kw_only=True)
class MutualTls:
    """Files in PEM.

    Attributes:
        certificate_file: this node's certificate, for server and client authentication, and its chain.
        key_file: its private key, without a passphrase.
        ca_file: the authority of all these nodes, and of nobody else. The system's are not trusted.
        identity: the DNS name or URI (`spiffe://…`) that every node's certificate has among its alternative names.
    """

    certificate_file: Path
    key_file: Path
    ca_file: Path
    identity: str

    def __post_init__(self) -> None:
        if not self.identity or any(c.isspace() for c in self.identity):
            raise UsageError("the identity of peers is a DNS name or a URI", hint="registry-shim.peers, or spiffe://…")

    @property
    def files(self) -> tuple[Path, ...]:
        """All that a context is made from."""
        return self.certificate_file, self.key_file, self.ca_file

    def client_context(self) -> ssl.SSLContext:
        """Raises `StorageError` where a file cannot be read, `UsageError` where it is not what it should be."""
        context = _Context(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        return self._loaded(context)

    def server_context(self) -> ssl.SSLContext:
        """Raises what `client_context` does."""
        return self._loaded(_Context(ssl.PROTOCOL_TLS_SERVER))

    def _loaded(self, context: _Context) -> _Context:
        context.identity = self.identity
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        add_authorities(context, self.ca_file)
        add_identity(context, self.certificate_file, self.key_file)
        return context


class _Context(ssl.SSLContext):
    """Refuses certificates without the identity, as a part of the handshake and so on either side."""

    identity: str


class _CheckedSocket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        _check(self)


class _CheckedObject(ssl.SSLObject):
    def do_handshake(self) -> None:
        super().do_handshake()
        _check(self)


_Context.sslsocket_class = _CheckedSocket
_Context.sslobject_class = _CheckedObject


def _check(connection: ssl.SSLSocket | ssl.SSLObject) -> None:
    context = connection.context
    certificate: dict[str, Any] = connection.getpeercert() or {}
    names = {value for kind, value in certificate.get("subjectAltName", ()) if kind in _NAMES}
    if not isinstance(context, _Context) or context.identity not in names:
        error = ssl.SSLCertVerificationError(1, "certificate of somebody else")
        error.verify_message = "it is not that of a peer"
        raise error
