"""Everything that a node's configuration file may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelcar.cache.settings import CacheSettings
from modelcar.errors import UsageError
from modelcar.lazy.settings import FetchSettings
from modelcar.serving.address import Address
from modelcar.serving.settings import Authentication, Limits, LogSettings, Tls
from registry_shim.engines.settings import ImportSettings
from registry_shim.gate.settings import GateSettings
from registry_shim.mirror.settings import MirrorSettings
from registry_shim.operations.admin.settings import AdminSettings
from registry_shim.peers.settings import PeerSettings
from registry_shim.precache.settings import PrecacheSettings
from registry_shim.space.settings import SpaceSettings

__all__ = ["NodeSettings", "TraceSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """OpenTelemetry traces, sent over HTTP. They need `pip install 'modelcar[otel]'`."""

    endpoint: str
    """The collector: `http://127.0.0.1:4318/v1/traces`."""
    share: float = 0.01
    """Share of the requests that are traced where the client does not decide it (0 to 1)."""
    headers_file: Path | None = None
    """Headers for the collector, a `Name: value` a line."""

    def __post_init__(self) -> None:
        if "@" in self.endpoint.partition("://")[2].partition("/")[0]:  # never shown: it may be a password
            raise UsageError("the URL of a collector takes no credentials", hint="headers_file has them")
        if not self.endpoint.startswith(("http://", "https://")):
            raise UsageError(f"{self.endpoint!r} is not a URL of a collector", hint="http://127.0.0.1:4318/v1/traces")
        if not 0 <= self.share <= 1:
            raise UsageError(f"share is from 0 to 1, not {self.share}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """A node. What the command line says goes before what stands here."""

    root: Path | None = None
    """The folder with the node's content."""
    listen: str = "127.0.0.1:5000"
    """Where clients ask, as HOST:PORT; port 0 picks a free one."""
    metrics_listen: str | None = None
    """Where `/metrics`, `/healthz`, `/readyz` and `/ui` are served instead of at `listen`, as HOST:PORT."""
    insecure: bool = False
    """Allow an address that other machines reach without TLS or authentication."""
    writable: bool = False
    """Take pushes, and create `root`."""
    deletable: bool = True
    """Whether a writable registry deletes tags, manifests and blobs."""
    stop_seconds: float = 2.0
    """Seconds that running requests get to finish in when the shim is told to stop."""
    tls: Tls | None = None
    """The certificate of `listen`; without one it speaks plain HTTP."""
    authentication: Authentication = field(default_factory=Authentication)
    """Who may ask."""
    limits: Limits = field(default_factory=Limits)
    """What the listener takes on."""
    log: LogSettings = field(default_factory=LogSettings)
    """The log."""
    traces: TraceSettings | None = None
    """Where traces are sent."""
    mirror: MirrorSettings = field(default_factory=MirrorSettings)
    """The registries that are mirrored."""
    fetch: FetchSettings = field(default_factory=FetchSettings)
    """How bytes are fetched."""
    cache: CacheSettings = field(default_factory=CacheSettings)
    """How the cache behaves."""
    space: SpaceSettings = field(default_factory=SpaceSettings)
    """Room for the cache."""
    gate: GateSettings = field(default_factory=GateSettings)
    """What may be served."""
    peers: PeerSettings | None = None
    """The other nodes that share their chunks with this one."""
    precache: PrecacheSettings = field(default_factory=PrecacheSettings)
    """What is fetched before anyone asks for it."""
    admin: AdminSettings = field(default_factory=AdminSettings)
    """Who may administer the node from elsewhere."""
    imports: ImportSettings | None = None
    """The engine into whose own store pre-cached images are put, where their lists ask for it."""

    def __post_init__(self) -> None:
        if self.stop_seconds < 0:
            raise UsageError("stop_seconds is not negative")
        for name, text in (("listen", self.listen), ("metrics_listen", self.metrics_listen)):
            try:
                if text is not None:
                    Address.parse(text)
            except UsageError as e:
                raise UsageError(f"{name}: {e}", hint=e.hint) from None

    def overridden(self, overrides: Mapping[str, Any]) -> NodeSettings:
        """With these values instead; `peers.advertise` is the `advertise` of `peers`.

        Raises:
            UsageError: a value for a part that these settings do not have.
        """
        settings = self
        for path, value in overrides.items():
            name, dot, member = path.partition(".")
            part = getattr(settings, name)
            if dot and part is None:
                raise UsageError(
                    f"{path} is given, but nothing else of `{name}`", hint=f"`{name}` in the --config file"
                )
            settings = replace(settings, **{name: replace(part, **{member: value}) if dot else value})
        return settings

    @property
    def mirrors(self) -> bool:
        """Whether there are upstreams, and with them all that is cached, judged and shared."""
        return bool(self.mirror.upstreams)

    @property
    def keeps(self) -> bool:
        """Whether anything is written to `root`."""
        return self.writable or self.mirrors
