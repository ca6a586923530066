"""How pods are rewritten: what the operator of a cluster may choose."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from modelcar.errors import UsageError
from modelcar.signing.roots import TrustRoots

__all__ = [
    "AdmissionSettings",
    "Affinity",
    "Cluster",
    "Failure",
    "Link",
    "Mode",
    "Requests",
    "Rewriting",
    "TrustMode",
    "TrustSettings",
]


class Mode(StrEnum):
    """How the model comes into the pod."""

    SIDECAR = "sidecar"
    """A container that holds the model, seen through the shared process namespace."""
    IMAGE_VOLUME = "image-volume"
    """A volume of the kind `image`."""
    AUTO = "auto"
    """An image volume where the cluster can, a sidecar elsewhere."""


class Link(StrEnum):
    """How the sidecar's model appears in the volume."""

    FARM = "farm"
    """Real folders with links to files."""
    DIRECTORY = "directory"
    """One link to the folder."""


class Affinity(StrEnum):
    """Towards nodes that have the model."""

    PREFERRED = "preferred"
    REQUIRED = "required"
    NONE = "none"


class TrustMode(StrEnum):
    """What a no of the policies means."""

    OFF = "off"
    AUDIT = "audit"
    """It is recorded in the audit log and in metrics."""
    WARN = "warn"
    """Whoever applies the pod is warned."""
    ENFORCE = "enforce"
    """The pod is denied."""


class Failure(StrEnum):
    """What it means when policies cannot be asked in time."""

    CLOSED = "closed"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What the cluster can."""

    native_sidecars: bool = True
    """Init containers with `restartPolicy: Always` (Kubernetes 1.29 and newer)."""
    image_volumes: bool = False
    """Volumes of the kind `image` (on from Kubernetes 1.35)."""
    image_volume_sub_path: bool = False
    """`subPath` of an image volume is respected (containerd 2.2 and newer; 2.1 ignores it without a word)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Resources of a sidecar; limits are the same, so that a Guaranteed pod stays one.

    Probes run inside them: with 10m of CPU a pod starts three seconds later than with 50m, from which on no more helps.
    """

    cpu: str = "50m"
    """As Kubernetes writes it."""
    memory: str = "16Mi"
    """As Kubernetes writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting:
    """How pods are rewritten that do not say otherwise."""

    mode: Mode = Mode.AUTO
    """`sidecar`, `image-volume` or `auto`."""
    link: Link = Link.FARM
    """`farm` or `directory`; KServe's servers get a directory link whatever stands here."""
    path: str = "/mnt/models"
    """Where the model appears."""
    affinity: Affinity = Affinity.PREFERRED
    """`preferred`, `required` or `none`."""
    requests: Requests = field(default_factory=Requests)
    """Resources of a sidecar."""
    startup_seconds: int = 3600
    """How long the node may take to bring a model before the pod's start has failed."""
    check: bool = True
    """Prove in an init container with the server's own security context that it can read the model."""
    kserve: bool = True
    """Also answer for KServe's `storageUri: oci://`."""

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or self.path == "/":
            raise UsageError(f"path is {self.path!r}: it is absolute, and not /")
        if self.startup_seconds < 1:
            raise UsageError("startup_seconds is 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSettings:
    """Whether images may run: the policies of `modelcar verify`."""

    mode: TrustMode = TrustMode.OFF
    """`off`, `audit`, `warn` or `enforce`."""
    policies: tuple[Path, ...] = ()
    """Files and folders with ClusterImagePolicy, ModelPolicy and DigestDenyList documents."""
    roots: TrustRoots = field(default_factory=TrustRoots)
    """Roots of trust."""
    default: str = "allow"
    """For an image that no policy speaks about: `allow` or `deny`."""
    failure: Failure = Failure.CLOSED
    """Where policies cannot be asked in time: `closed` denies, `open` lets the pod in and says so."""
    seconds: float = 8.0
    """Time for all questions about one pod; the API server waits 10 unless configured otherwise."""
    remember_seconds: float = 300.0
    """How long a verdict on a digest, and what a tag resolved to, is remembered."""

    def __post_init__(self) -> None:
        if self.default not in ("allow", "deny"):
            raise UsageError(f"default is `allow` or `deny`, not {self.default!r}")
        if self.mode is not TrustMode.OFF and not self.policies:
            raise UsageError(f"trust is on ({self.mode}) and there are no policies", hint="name files in `policies`")
        if not 0 < self.seconds <= 29:
            raise UsageError(f"seconds is more than 0 and at most 29, not {self.seconds}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSettings:
    """Everything that decides about a pod; the same for the webhook and for `modelcar inject`."""

    rewriting: Rewriting = field(default_factory=Rewriting)
    """How pods are rewritten."""
    cluster: Cluster = field(default_factory=Cluster)
    """What the cluster can."""
    trust: TrustSettings = field(default_factory=TrustSettings)
    """Whether images may run."""
    enabled: bool = True
    """`false` lets every pod through as it is: the kill switch."""
