"""Layers that pass through this machine: brought to a spool, sent on, and removed before the next ones come."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from modelcar.layers.bytemap import ByteMap
from modelcar.layers.hashing import LayerDigests
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.packed import PackedLayer
from modelcar.packaging.plan import LayerKind, PlannedLayer
from modelcar.store.layout import OciLayout

__all__ = ["PASSING_AT_ONCE", "Passing", "Target"]

PASSING_AT_ONCE: Final = 2  # layers on the disk: one comes while the other goes


class Target(Protocol):
    """Where the layers go."""

    @property
    def name(self) -> str:
        """For people: `ghcr.io/acme/llm`."""

    def has(self, digest: Digest, size: int) -> bool:
        """Whether this blob is there already. Raises `WorldError`."""

    def send(self, blob: Descriptor, content: ByteMap) -> None:
        """Return when the blob is there. Raises `WorldError`."""

    def cancel(self, cause: BaseException) -> None:
        """Let whoever sends give up, because of this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """What is brought to `spool` goes to `target` and does not stay; what lies elsewhere on the disk is used there."""

    target: Target
    spool: Path

    def takes(self, layer: PackedLayer) -> bool:
        """Whether this layer does not stay. Small files do: they are what most commands ask an image for."""
        files = layer.planned.files
        return layer.planned.kind is not LayerKind.FILES and any(f.awaited or self._is_spooled(f.source) for f in files)

    def has(self, layer: PlannedLayer, digests: LayerDigests) -> bool:
        """Whether it need not even be brought."""
        return self.target.has(digests.blob, layer.size)

    def send(self, layer: PackedLayer) -> None:
        """Send a layer on, and remove what was brought of it."""
        if layer.planned.is_awaited:
            return
        self.target.send(layer.nameable(), layer.content)
        self.drop(layer)

    def drop(self, layer: PackedLayer) -> None:
        """Remove what was brought of a layer that has been sent."""
        for file in layer.planned.files:
            if self._is_spooled(file.source):
                file.source.unlink(missing_ok=True)

    def keep(self, content: OciLayout, layer: PackedLayer) -> None:
        """Put into the store what stays of a layer: the note where it is, or the layer."""
        if self.takes(layer):
            content.note_elsewhere(layer.digests.blob, self.target.name)
        elif any(self._is_spooled(f.source) for f in layer.planned.files):
            content.materialise(layer.digests.blob, layer.content)
        else:
            content.add_recipe(layer.digests.blob, layer.content)

    def _is_spooled(self, path: Path) -> bool:
        return path.is_relative_to(self.spool)
