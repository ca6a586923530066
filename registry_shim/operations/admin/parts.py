"""What the administration API stands on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from modelcar.cache.status import BlobStatus
from modelcar.errors import NotFound
from modelcar.oci import Digest, Reference
from registry_shim.mounts.node import Added
from registry_shim.precache.settings import PrecacheImage
from registry_shim.space.evict import Plan
from registry_shim.space.pins import Pin
from registry_shim.space.status import SpaceStatus

__all__ = ["About", "MountsPart", "Parts", "PrecachePart", "RevokedPart", "SpacePart"]


class SpacePart(Protocol):
    """The space; all of it blocks."""

    def status(self) -> SpaceStatus: ...

    def pin(self, reference: Reference) -> Pin: ...

    def unpin(self, reference: Reference) -> None: ...

    def pinned(self) -> Sequence[Pin]: ...

    def collect(self, *, wanted: int = 0, dry_run: bool = False) -> Plan: ...


class PrecachePart(Protocol):
    """Pre-caching; all of it blocks."""

    def add(self, image: PrecacheImage, source: str) -> dict[str, Any]: ...

    def cancel(self, name: str) -> None: ...

    def get(self, name: str) -> dict[str, Any]: ...

    def status(self) -> dict[str, Any]: ...

    def limit(self, rate: int) -> None: ...


class RevokedPart(Protocol):
    """The node's own deny-list; all of it blocks."""

    def all(self) -> dict[Digest, str]: ...

    def add(self, digest: Digest, reason: str) -> None: ...

    def remove(self, digest: Digest) -> None: ...


class MountsPart(Protocol):
    """Lazy layers for the snapshotter beside this node; all of it blocks."""

    def check(self, reference: Reference, manifest: Digest, layer: Digest) -> None: ...

    def add(self, id: str, reference: Reference, manifest: Digest, target: Path) -> Added: ...  # noqa: A002  # a mount's

    def started(self, id: str, supervisor: int, front: str) -> None: ...  # noqa: A002  # a mount's

    def remove(self, target: Path) -> None: ...

    def all(self) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a node says of itself."""

    version: str
    root: str
    address: str
    started: float
    """Seconds since the epoch."""
    upstreams: tuple[str, ...] = ()


async def _true() -> bool:
    return True


async def _unknown(reference: Reference) -> Mapping[str, Any]:
    raise NotFound(f"{reference} is not known: this node has no gate")


async def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    about: About
    space: SpacePart
    precache: PrecachePart
    revoked: RevokedPart
    mounts: MountsPart | None = None
    blobs: Callable[[], Sequence[BlobStatus]]
    """`Cache.status`."""
    gate: Callable[[], Mapping[str, Any]] = dict
    """`Gate.status`."""
    peers: Callable[[], Sequence[Mapping[str, Any]]] = tuple
    judge: Callable[[], Awaitable[bool]] = _true
    """`Gate.reload`: policies and deny-lists are read again; `False` if they cannot be."""
    rescan: Callable[[Reference], Awaitable[Mapping[str, Any]]] = _unknown
    """`Node.rescan`. Raises `NotFound`, `StorageError`."""
    reload: Callable[[], Awaitable[None]] = _nothing
    """The configuration is read again. Raises `UsageError`, `StorageError`."""
    drain: Callable[[], Awaitable[None]] = _nothing
    """Not ready any more, so that nobody new is sent here."""
