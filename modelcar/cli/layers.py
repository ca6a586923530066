"""The layers of an image, each once, and what two images have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelcar.cli.output import human_size, percent
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.inspect import Inspected, InspectedManifest

__all__ = ["ImageLayer", "Shared", "files_in", "layers_of", "shared_layers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayer:
    """A layer, and which manifests have it.

    Attributes:
        kind: what its annotation says it holds: `weights`, `files`, `index`, `holder`; empty in others' images.
        holds: the file that lies in it, or the first and how many more; empty where no model index tells.
        within: `all`, or the platforms of the manifests that have it.
    """

    descriptor: Descriptor
    kind: str
    holds: str
    within: str

    @property
    def digest(self) -> Digest:
        return self.descriptor.digest

    @property
    def size(self) -> int:
        """Bytes as they are stored."""
        return self.descriptor.size

    @property
    def label(self) -> str:
        return f"{self.kind}: {self.holds}" if self.holds else self.kind

    @property
    def media_type(self) -> str:
        """Without what all of them have in common."""
        return self.descriptor.media_type.removeprefix("application/vnd.").removeprefix("oci.image.layer.v1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What of an image another one has, too. Sizes are bytes."""

    name: str
    digest: Digest
    layers: frozenset[Digest]
    size: int
    total: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "digest": str(self.digest),
            "layers": sorted(map(str, self.layers)),
            "sharedBytes": self.size,
            "bytes": self.total,
        }

    def __str__(self) -> str:
        own = human_size(self.total - self.size)
        share = percent(self.size, self.total)
        return f"{human_size(self.size)} of {human_size(self.total)} ({share}) are in {self.name}, too; {own} only here"


def layers_of(inspected: Inspected) -> tuple[ImageLayer, ...]:
    """Bottom to top, those of the first manifest first."""
    layers: dict[Digest, Descriptor] = {}
    places: dict[Digest, list[str]] = {}
    for m in inspected.manifests:
        for layer in {d.digest: d for d in m.manifest.layers}.values():
            layers.setdefault(layer.digest, layer)
            places.setdefault(layer.digest, []).append(_place(m))
    held = _held(inspected, layers)
    return tuple(
        ImageLayer(
            descriptor=layer,
            kind=layer.annotations.get(LAYER, ""),
            holds=held.get(digest, ""),
            within="all" if len(places[digest]) == len(inspected.manifests) else ", ".join(places[digest]),
        )
        for digest, layer in layers.items()
    )


def shared_layers(layers: Collection[ImageLayer], name: str, other: Inspected) -> Shared:
    """Which of `layers` the image `other`, called `name`, has in any of its manifests."""
    theirs = {layer.digest for m in other.manifests for layer in m.manifest.layers}
    both = [layer for layer in layers if layer.digest in theirs]
    return Shared(
        name=name,
        digest=other.root.digest,
        layers=frozenset(layer.digest for layer in both),
        size=sum(layer.size for layer in both),
        total=sum(layer.size for layer in layers),
    )


def _place(manifest: InspectedManifest) -> str:
    return str(manifest.config.platform) if manifest.config else manifest.kind


def files_in(paths: Sequence[str]) -> str:
    """What lies in a layer: its one file, or the first of them and how many more."""
    first, *others = paths
    return f"{first} and {len(others)} more" if others else first


def _held(inspected: Inspected, layers: Mapping[Digest, Descriptor]) -> dict[Digest, str]:
    """By the layer's digest what lies in it: of weights which, of small files how many."""
    paths: dict[Digest, list[str]] = {}
    for layer in inspected.model.layers if inspected.model else ():
        paths.setdefault(layer.listed_as, []).extend(file.path for file in layer.files)
    found = {}
    for digest, files in paths.items():
        small = digest in layers and layers[digest].annotations.get(LAYER) == "files"
        if files:
            found[digest] = f"{len(files)} files" if small and len(files) > 1 else files_in(files)
    return found
