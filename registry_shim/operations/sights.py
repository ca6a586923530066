"""Where metrics and the status page look: each part's own status, as the wiring hands it over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelcar.cache.status import BlobStatus
from modelcar.mounts.figures import MountFigures
from registry_shim.peers.health import State
from registry_shim.peers.members import Member
from registry_shim.space.pushed import PushedImage
from registry_shim.space.status import SpaceStatus

__all__ = ["Sights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sights:
    """What a part does not have is `None`, or says nothing. Called in threads; they may wait for the disk."""

    connections: Callable[[], int] = lambda: 0
    requests: Callable[[], int] = lambda: 0
    blobs: Callable[[], Sequence[BlobStatus]] = tuple
    space: Callable[[], SpaceStatus | None] = lambda: None
    gate: Callable[[], Mapping[str, Any]] = dict
    """`Gate.status()`."""
    peers: Callable[[], Mapping[Member, State]] = dict
    precache: Callable[[], Mapping[str, Any]] = dict
    """`Precache.status()`."""
    mounts: Callable[[], Sequence[MountFigures]] = tuple
    pushed: Callable[[], Sequence[PushedImage] | None] = lambda: None
    mirrors: bool = True
    """Whether there are upstreams at all."""
