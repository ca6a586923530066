"""What the gate tells whoever counts."""

from __future__ import annotations

from typing import Protocol

from registry_shim.gate.ruling import Ruling
from registry_shim.gate.verdicts import NodeVerdict

__all__ = ["GateEvents", "Unheard"]


class GateEvents(Protocol):
    """Called on the event loop; must not block."""

    def ruled(self, ruling: Ruling) -> None:
        """About an image, for the first time or differently from before."""

    def refused(self, kind: str) -> None:
        """A request: for a `manifest`, a `blob`, a `repository` without a rule, a `denied` digest, or the `canary`."""

    def scanned(self, verdict: NodeVerdict) -> None:
        """An image, by this node."""

    def scan_failed(self) -> None:
        """A scan came to no verdict."""

    def revoked(self, ruling: Ruling, blobs: int) -> None:
        """An image that was served before: pulls of so many of its blobs were cut."""

    def reloaded(self, *, succeeded: bool) -> None:
        """The policies were read again."""


class Unheard:
    """Nobody counts."""

    def ruled(self, ruling: Ruling) -> None:
        pass

    def refused(self, kind: str) -> None:
        pass

    def scanned(self, verdict: NodeVerdict) -> None:
        pass

    def scan_failed(self) -> None:
        pass

    def revoked(self, ruling: Ruling, blobs: int) -> None:
        pass

    def reloaded(self, *, succeeded: bool) -> None:
        pass
