"""What a person or configuration chooses of the peers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from modelcar.errors import UsageError
from modelcar.registry.mutual import MutualTls
from registry_shim.peers.members import Member, parse_members

__all__ = ["KubernetesSettings", "PeerSettings"]

_WILDCARDS: Final = frozenset({"0.0.0.0", "::", "*"})  # noqa: S104  # they are refused
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # as Kubernetes has them; parts of URLs here
_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings:
    """Members are the ready endpoints of a service, as its EndpointSlices list them.

    Attributes:
        service: the (headless) service that selects the shim's pods.
        namespace: its namespace; by default that of the service account.
        port: the name of the port of the peers' API.
        api: the URL of the API server; by default that of the cluster that this runs in.
        account: the folder with the service account's `token`, `ca.crt` and `namespace`.
    """

    service: str
    namespace: str | None = None
    port: str = "peers"
    api: str | None = None
    account: Path = _ACCOUNT

    def __post_init__(self) -> None:
        for what, name in (("service", self.service), ("namespace", self.namespace), ("port", self.port)):
            if name is not None and not _NAME.fullmatch(name):
                raise UsageError(f"{name!r} is not the name of a {what}", hint="lower case, digits and -, 63 at most")
        if self.api is not None:
            _check_api(self.api)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """Times are seconds. One of `members`, `dns` and `kubernetes` says who the peers are.

    Attributes:
        listen: HOST:PORT of the peers' API.
        advertise: HOST:PORT under which the others know this node; by default `listen`.
        zone: this node's zone, where the membership does not tell it.
        members: `HOST:PORT` or `HOST:PORT=ZONE` of every node; this one may be among them.
        dns: a name whose addresses are the members (`HOST:PORT`), or an SRV name (`_peers._tcp.shim.example`).
        dns_seconds: how often it is resolved again.
        kubernetes: the service whose endpoints they are.
        tls: without it, peers are spoken to in the clear, which `insecure` or loopback addresses must allow.
        insecure: peers without TLS, clients' tokens in the clear, on a network that protects them.
        stand_ins: how many members, from the home on, fetch a chunk for others; more are asked only for what they have.
        hold_seconds: how long a request waits at the home for a chunk before it is told to come again.
        wait_seconds: how long a node asks again for a chunk that its home says is on its way, before it asks others.
        timeout: how long a connection may take to make.
        sending: bodies that are sent to peers at once; others are told to come again.
        sending_each: of those, to one peer.
        suspect_seconds: how long a peer that failed once is not asked first; doubles with every failure in a row.
        dead_after: failures in a row after which a peer's chunks are others'.
        banned_seconds: how long a peer that sent wrong bytes is not asked at all.
        upstream_streams: streams to the upstream that all nodes have together, about; each has one at least. Many slow
            ones would let all chunks arrive at the end, and a chunk is passed on when all of it is here.
        last_resort: fetches from the upstream, at once, of chunks that others are the homes of.
    """

    listen: str = "127.0.0.1:5443"
    advertise: str | None = None
    zone: str = ""
    members: tuple[str, ...] = ()
    dns: str | None = None
    dns_seconds: float = 30.0
    kubernetes: KubernetesSettings | None = None
    tls: MutualTls | None = None
    insecure: bool = False
    stand_ins: int = 3
    hold_seconds: float = 5.0
    wait_seconds: float = 60.0
    timeout: float = 3.0
    sending: int = 64
    sending_each: int = 16
    suspect_seconds: float = 2.0
    dead_after: int = 3
    banned_seconds: float = 3600.0
    upstream_streams: int = 8
    last_resort: int = 2

    def __post_init__(self) -> None:
        if sum(bool(given) for given in (self.members, self.dns, self.kubernetes)) != 1:
            raise UsageError("peers need exactly one of members, dns and kubernetes")
        if Member.parse(self.name).host in _WILDCARDS:
            raise UsageError(
                f"peers cannot reach a node at {self.name}", hint="`advertise` is the address that they know it by"
            )
        parse_members(self.members)
        for name in ("dns_seconds", "hold_seconds", "wait_seconds", "timeout", "suspect_seconds", "banned_seconds"):
            if getattr(self, name) <= 0:
                raise UsageError(f"peers: {name} is not a time")
        for name in ("stand_ins", "sending", "sending_each", "dead_after", "upstream_streams", "last_resort"):
            if getattr(self, name) < 1:
                raise UsageError(f"peers: {name} is at least 1")

    @property
    def name(self) -> str:
        """What the others call this node."""
        return self.advertise or self.listen


def _check_api(url: str) -> None:
    if "@" in url:  # never shown: it may be a password
        raise UsageError("the URL of an API server takes no credentials", hint="the service account's token is sent")
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("https", "http") and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:
        is_url = False
    if not is_url or not url.isprintable() or " " in url:
        raise UsageError(f"{url!r} is not the URL of an API server", hint="it looks like https://10.96.0.1")
