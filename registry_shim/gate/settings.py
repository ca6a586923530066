"""What may be served: rules by repository, and how this node finds out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from modelcar.errors import UsageError
from modelcar.oci import Digest
from modelcar.signing.policy.globs import ImageGlob
from modelcar.signing.roots import TrustRoots

__all__ = [
    "GateRule",
    "GateSettings",
    "Mode",
    "NodeScan",
    "OnPending",
    "ScanDemand",
    "Unmatched",
    "Unverified",
]

_FORMAT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class Mode(StrEnum):
    """What becomes of an image that does not satisfy its rule."""

    OFF = "off"
    """It is not looked at."""
    AUDIT = "audit"
    """It is served; what would have been said is logged, counted and shown."""
    WARN = "warn"
    """As `audit`, and whoever pulls is told in a `Warning` header."""
    ENFORCE = "enforce"
    """It is refused, and so is every blob that no admitted image of the repository lists."""


class OnPending(StrEnum):
    """What becomes of a request while this node still scans the image (`enforce` only)."""

    REFUSE = "refuse"
    """Refused, saying how far the scan is: whoever pulls tries again later."""
    HOLD = "hold"
    """It waits for `hold_seconds`, and is refused then."""
    STREAM = "stream"
    """It is served. If the scan finds something malicious, pulls that still run are cut and new ones refused."""


class ScanDemand(StrEnum):
    """Which scan verdicts are asked for, besides what the policies say."""

    OFF = "off"
    """None."""
    ATTESTED = "attested"
    """A clean one that is signed by a key which a `ModelPolicy` names under `scan`."""
    NODE = "node"
    """Such a one, or else a clean one of this node's own scan, which counts on this node only."""


class Unverified(StrEnum):
    """What becomes of an image in which this node's scan found nothing malicious, and which nobody can vouch for."""

    REFUSE = "refuse"
    ALLOW = "allow"


class Unmatched(StrEnum):
    """What becomes of a repository that no rule speaks about, once there are rules."""

    REFUSE = "refuse"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRule:
    """What is asked of the images of some repositories."""

    images: str
    """A glob over `registry/repository`, as in policies: `*` stands for anything but `/`, `**` for anything."""
    mode: Mode = Mode.ENFORCE
    """What becomes of an image that does not satisfy the rest."""
    policies: tuple[Path, ...] = ()
    """Policy files, or folders of them; all that speak about the image must be satisfied, and at least one must."""
    formats: tuple[str, ...] = ()
    """Formats that the model's files may have, such as safetensors and gguf; empty: any."""
    max_bytes: int = 0
    """Bytes that all layers of an image may have together; 0: any."""
    scan: ScanDemand = ScanDemand.OFF
    """Which scan verdict is asked for."""
    unverified: Unverified = Unverified.REFUSE
    """Whether this node's verdict *unverified* suffices."""
    on_pending: OnPending = OnPending.REFUSE
    """What becomes of requests until this node has scanned."""
    hold_seconds: float = 60.0
    """Seconds for which `hold` lets a request wait."""

    def __post_init__(self) -> None:
        name = self.images.rpartition("/")[2]
        if "@" in self.images or ":" in name:
            raise UsageError(
                f"gate: {self.images!r} names a tag or digest, and rules are about repositories",
                hint="end it in the repository's name, or in /**",
            )
        ImageGlob(self.images)
        if bad := [each for each in self.formats if not _FORMAT.fullmatch(each)]:
            raise UsageError(f"gate: {bad[0][:80]!r} is not a format", hint="such as safetensors or gguf")
        if self.max_bytes < 0 or self.hold_seconds < 0:
            raise UsageError(f"gate: max_bytes and hold_seconds of {self.images!r} are 0 or more")
        if self.scan is ScanDemand.ATTESTED and not self.policies:
            raise UsageError(
                f"gate: {self.images!r} asks for attested verdicts and has no policies",
                hint="a ModelPolicy with `scan` names the keys whose verdicts count",
            )
        if self.mode is not Mode.OFF and not (self.policies or self.formats or self.max_bytes or self.demands_scan):
            raise UsageError(
                f"gate: the rule for {self.images!r} asks for nothing, so that everything would pass",
                hint="give it policies, formats or scan, or say `mode: off`",
            )

    @property
    def demands_scan(self) -> bool:
        return self.scan is not ScanDemand.OFF


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeScan:
    """How this node scans. Each scan runs in a process of its own, without network, behind everything else."""

    at_once: int = 1
    """Images of each registry that are scanned at a time; others wait."""
    seconds: float = 7200.0
    """Seconds after which a scan is given up, once all bytes are here."""
    threads: int = 4
    """Layers that a scan looks at at a time."""
    memory: int = 8 << 30
    """Bytes of address space that a scan may take."""
    niceness: int = 15
    """By how much it is nicer than the shim, from 0 to 19; its disk accesses are those of an idle process."""
    trusted_layers: tuple[str, ...] = ()
    """Digests of layers and configurations, of base images say, that are taken for granted."""
    scanners: tuple[str, ...] = ()
    """Other scanners that are asked as well, as `modelcar scan --with` names them."""

    def __post_init__(self) -> None:
        if self.at_once < 1 or self.threads < 1 or self.seconds <= 0:
            raise UsageError("gate: scan.at_once and scan.threads are at least 1, and scan.seconds more than 0")
        if self.memory < 512 << 20:
            raise UsageError("gate: scan.memory is at least 512MiB")
        if not 0 <= self.niceness <= 19:
            raise UsageError("gate: scan.niceness is from 0 to 19")
        for digest in self.trusted_layers:
            Digest.parse(digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """The gate. Without rules everything is served but what a deny-list names."""

    rules: tuple[GateRule, ...] = ()
    """In order; the first that matches a repository is the one that counts."""
    unmatched: Unmatched = Unmatched.REFUSE
    """What becomes of repositories that none of the rules matches."""
    deny_lists: tuple[Path, ...] = ()
    """Files, or folders of them, with DigestDenyLists: what they name is never served, whatever the rules say."""
    trust: TrustRoots = field(default_factory=TrustRoots)
    """Roots of trust."""
    scan: NodeScan = field(default_factory=NodeScan)
    """How this node scans."""
    reload_seconds: float = 2.0
    """Seconds between two looks at whether a policy or deny-list has changed."""
    decide_seconds: float = 30.0
    """Seconds that a request may wait for signatures to be looked at."""
    valid_seconds: float = 3600.0
    """Seconds for which an image that was let through need not be looked at again."""
    refused_seconds: float = 15.0
    """Seconds for which a refusal stands before signatures are looked for again."""
    remembered: int = 10_000
    """Images whose standing is kept in memory."""

    def __post_init__(self) -> None:
        for name in ("reload_seconds", "decide_seconds", "valid_seconds", "refused_seconds"):
            if getattr(self, name) <= 0:
                raise UsageError(f"gate: {name} is more than 0")
        if self.remembered < 1:
            raise UsageError("gate: remembered is at least 1")
