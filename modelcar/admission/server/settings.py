"""The configuration file of the webhook: how pods are rewritten, and how the webhook runs."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase

from modelcar.admission.server.certificates import Lifetimes
from modelcar.admission.settings import AdmissionSettings
from modelcar.errors import UsageError
from modelcar.oci import Reference
from modelcar.serving.settings import Limits, LogSettings, Tls

__all__ = ["OwnCertificates", "ServerSettings", "WebhookSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCertificates:
    """Certificates that the webhook makes, renews and publishes itself, where `tls` names none."""

    namespace: str | None = None
    """The namespace of `service` and `secret`; the webhook's own if nothing is said."""
    service: str = "modelcar-webhook"
    """The Service that the API server calls: its names are the certificate's."""
    secret: str = "modelcar-webhook-certificates"  # noqa: S105  # its name
    """The Secret in which all replicas have them."""
    configuration: str = "modelcar"
    """The MutatingWebhookConfiguration that gets the authorities."""
    days: int = 90
    """Days that a certificate is valid; it is renewed after two thirds of them."""
    authority_days: int = 730
    """Days that an authority is; the next one is published a day before it issues anything."""

    def __post_init__(self) -> None:
        self.lifetimes  # noqa: B018  # whether they go together

    @property
    def lifetimes(self) -> Lifetimes:
        return Lifetimes(certificate=timedelta(days=self.days), authority=timedelta(days=self.authority_days))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The webhook as a process."""

    listen: str = "0.0.0.0:8443"  # the API server is on another machine
    """Where the API server asks, as HOST:PORT; always with TLS."""
    operations_listen: str = "0.0.0.0:8080"  # and so are the kubelet and Prometheus
    """Where `/healthz`, `/readyz` and `/metrics` are, as HOST:PORT; without TLS."""
    tls: Tls | None = None
    """A certificate from files, as cert-manager mounts it; without it the webhook makes its own."""
    certificates: OwnCertificates = field(default_factory=OwnCertificates)
    """The certificates that it makes."""
    decisions: int = 8
    """Pods that are decided about at a time."""
    waiting: int = 64
    """Requests that wait for that; others are told to come back (503), and `failurePolicy` decides."""
    request_seconds: float = 9.0
    """Seconds for one request; less where the API server says that it waits for less."""
    body_bytes: int = 3 << 20
    """Bytes of one request; the API server takes no larger objects."""
    bodies_bytes: int = 48 << 20
    """Bytes of all requests that are here at a time."""
    connections: int = 1024
    """Connections open at a time."""
    registries: tuple[str, ...] = ()
    """Registries that may be asked about images, as HOST[:PORT] with `*` for any characters; without any, all but
    loopback and link-local addresses. Whoever may create pods chooses whom the webhook asks."""
    drain_seconds: float = 5.0
    """Seconds between not being ready and taking no more connections: others have to hear of it first."""
    stop_seconds: float = 15.0
    """Seconds that running requests get to finish in after that."""
    log: LogSettings = field(default_factory=LogSettings)
    """The log; from `info` on it has a line for every decision."""

    def __post_init__(self) -> None:
        for name in ("decisions", "waiting", "body_bytes", "connections"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it is at least 1")
        if self.bodies_bytes < self.body_bytes:
            raise UsageError("bodies_bytes is for all requests, and less than body_bytes of one")
        if not 0.1 <= self.request_seconds <= 30:
            raise UsageError(f"request_seconds is {self.request_seconds}; the API server waits from 1 to 30")
        if min(self.drain_seconds, self.stop_seconds) < 0:
            raise UsageError("drain_seconds and stop_seconds are not negative")

    def may_ask(self, ref: Reference) -> bool:
        """Whether the registry of an image may be asked."""
        if self.registries:
            return any(fnmatchcase(ref.registry, pattern) for pattern in self.registries)
        return not (ref.is_loopback or _is_link_local(ref.host))

    @property
    def limits(self) -> Limits:
        """Of the listener. A cluster has few API servers, and each may have all connections."""
        return Limits(
            connections=self.connections,
            connections_per_client=self.connections,
            requests=2 * self.connections,
            body_bytes=self.body_bytes,
            stall_seconds=self.request_seconds,
            idle_seconds=120.0,  # longer than Go keeps one (90 s): no request meets a connection that is being closed
        )


def _is_link_local(host: str) -> bool:
    """Where clouds hand out credentials, among others."""
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings(AdmissionSettings):
    """The webhook. `modelcar inject --config` reads the same file, and all but `server` counts there, too.

    It is read again when it changes: everything outside `server`, and `server.log`, is in force then.
    """

    server: ServerSettings = field(default_factory=ServerSettings)
    """The webhook as a process; a change needs a restart, except of `log`."""
