"""How a listener and the log of its process are set up."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from modelcar.errors import UsageError
from modelcar.tls import server_context

__all__ = ["Authentication", "Level", "Limits", "LogFormat", "LogSettings", "Tls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one listener takes on. At a limit the connection that is idle longest makes room, or else the slowest."""

    connections: int = 4096
    """Connections open at a time, from everyone together."""
    connections_per_client: int = 512
    """Connections open at a time from one address (IPv6: one /64); from loopback, which is everybody there, any."""
    slow_rate: int = 65536
    """Bytes a second: a client that has taken or sent less for ten seconds makes room for others at a limit."""
    requests: int = 2048
    """Requests being answered at a time, streamed bodies included; others get 503."""
    header_bytes: int = 65536
    """Bytes of a request's line and headers."""
    header_count: int = 100
    """Headers of a request, 128 at most."""
    header_seconds: float = 10.0
    """Seconds that a client may take over a request's headers, and over the TLS handshake."""
    idle_seconds: float = 75.0
    """Seconds after which a connection without a request is closed."""
    stall_seconds: float = 120.0
    """Seconds after which a client is dropped that stalls: one that sent less than 16 KiB in them, or took nothing."""
    body_bytes: int = 65536
    """Bytes of a request's body, except for pushes."""

    def __post_init__(self) -> None:
        for name in ("connections", "connections_per_client", "requests"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it is at least 1")
        if not 1 <= self.header_count <= 128:
            raise UsageError(f"header_count is {self.header_count}; it is from 1 to 128")
        if not 1024 <= self.header_bytes <= 1 << 20:
            raise UsageError(f"header_bytes is {self.header_bytes}; it is from 1KiB to 1MiB")
        if min(self.header_seconds, self.idle_seconds, self.stall_seconds) <= 0:
            raise UsageError("header_seconds, idle_seconds and stall_seconds are more than 0")
        if min(self.body_bytes, self.slow_rate) < 0:
            raise UsageError("body_bytes and slow_rate are not negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """A listener's certificate, and whom it asks for one. Files that change are read again."""

    certificate_file: Path
    """The certificate, and behind it those that it was issued by (PEM)."""
    key_file: Path
    """The certificate's private key (PEM, without a passphrase)."""
    client_ca_file: Path | None = None
    """Certificates that issue those of clients (PEM). With it every client must show one."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All that `server_context` reads."""
        return tuple(filter(None, (self.certificate_file, self.key_file, self.client_ca_file)))

    def server_context(self) -> ssl.SSLContext:
        """Raises `StorageError` where a file cannot be read, `UsageError` where it is not what it should be."""
        return server_context(self.certificate_file, self.key_file, self.client_ca_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """Who may ask. Any one suffices; without any, everyone who reaches the listener may.

    The credentials of a password or token stand in `Authorization`, where an upstream's token cannot be then: use
    certificates (`client_ca_file`) where clients bring their own tokens for upstreams.
    """

    htpasswd_file: Path | None = None
    """Names and bcrypt hashes of passwords, as `htpasswd -B` writes them."""
    tokens_file: Path | None = None
    """A name, a colon and a token of 16 characters or more a line; for `Authorization: Bearer`, or Basic with the token
    as the password."""
    public_paths: tuple[str, ...] = ("/healthz", "/readyz")
    """Paths that everyone may ask for."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Who may ask."""
        return tuple(filter(None, (self.htpasswd_file, self.tokens_file)))

    @property
    def required(self) -> bool:
        """Whether anybody has to say who they are."""
        return bool(self.files)


class LogFormat(StrEnum):
    """How a line of the log looks."""

    PLAIN = "plain"
    JSON = "json"
    LOGFMT = "logfmt"


class Level(StrEnum):
    """From which severity on something is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The log, on standard error."""

    format: LogFormat = LogFormat.PLAIN
    """`plain` for people, `json` or `logfmt` for programs."""
    level: Level = Level.WARNING
    """From which severity on something is logged; `info` has a line for every request."""
