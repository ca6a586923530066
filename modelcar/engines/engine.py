"""What an engine is to us: it has a name and a platform, takes an image as a stream, and says what it has then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from modelcar.oci import Platform

__all__ = ["Engine"]


class Engine(Protocol):
    """An engine that answers. Methods raise `WorldError` with the engine's own words."""

    name: str
    """For people: `docker 28.0.1 at unix:///run/docker.sock`."""

    def platform(self) -> Platform:
        """What it runs: images for another platform are no use to it."""

    def load(self, pieces: Iterable[bytes]) -> None:
        """Take an archive of images. What `pieces` raises ends it, and the engine then has nothing new by name."""

    def image_id(self, reference: str) -> str | None:
        """The engine's own id for an image (`sha256:…`: of its configuration or manifest); `None` if it has none."""
