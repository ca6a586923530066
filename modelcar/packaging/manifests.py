"""What describes the layers of an image: a config and a manifest for each platform, the ModelPack twin, and the index.

It costs no I/O, so that its sizes are known before any layer is hashed: digests are all of one length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from modelcar.checkpoint import ModelFacts
from modelcar.layers.index import INDEX_PATH
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform
from modelcar.packaging.annotations import KIND, MODELPACK, SOCI, SOCI_INDEX
from modelcar.packaging.base import Base
from modelcar.packaging.model_base import ModelBase
from modelcar.packaging.modelpack import modelpack_layers, modelpack_manifest
from modelcar.packaging.plan import LayerKind, PlannedLayer

__all__ = ["Described", "Documents", "describe_image", "image_annotations"]

_UNKNOWN: Final = Platform(os="unknown", architecture="unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A layer of the checkpoint: as it was planned, the digest of its tar, and as manifests list it."""

    planned: PlannedLayer
    diff_id: Digest
    descriptor: Descriptor


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """All of them, each with its bytes: `images` has one a base, in their order."""

    images: tuple[tuple[ImageConfig, Manifest], ...]
    twin: Manifest
    twin_config: bytes
    twin_entry: Descriptor
    index: Index

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of the manifests, by what people call them."""
        images = {f"the image for {config.platform}": len(manifest.content) for config, manifest in self.images}
        return {**images, "the ModelPack twin": len(self.twin.content), "the image index": len(self.index.content)}


def image_annotations(of_files: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """In one order; a given one that is empty takes that of the files away."""
    said = {**of_files, **given}
    return {key: said[key] for key in sorted(said) if said[key]}


def describe_image(
    layers: Sequence[Described],
    index_layer: Descriptor,
    *,
    bases: Sequence[Base],
    facts: ModelFacts,
    annotations: Mapping[str, str],
    beneath: ModelBase | None = None,
    soci: Descriptor | None = None,
) -> Documents:
    """The documents of an image for each base over the same layers.

    Args:
        index_layer: with the model index.
        annotations: of the whole, from `image_annotations`.
        beneath: another image's model, whose layers come first.
        soci: the SOCI index, where there is one.
    """
    model = _model_layers(beneath, layers, index_layer)
    annotated = {**annotations, **({SOCI_INDEX: str(soci.digest)} if soci is not None else {})}
    images = tuple(_image(base, model, annotated) for base in bases)
    twin, twin_config = _twin(facts, beneath, layers, index_layer, annotations)
    # No artifactType here: skopeo drops it when it copies an index, which changes the index's digest.
    twin_entry = _entry(twin, _UNKNOWN).annotated({KIND: MODELPACK})
    tables = [replace(soci, platform=_UNKNOWN, annotations={KIND: SOCI})] if soci is not None else []
    entries = [_entry(manifest, config.platform) for config, manifest in images]
    index = Index(manifests=(*entries, *tables, twin_entry), annotations=annotations)
    return Documents(images=images, twin=twin, twin_config=twin_config, twin_entry=twin_entry, index=index)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelLayer:
    """A layer of the model as every platform's manifest and config have it."""

    descriptor: Descriptor
    diff_id: Digest
    kind: LayerKind
    label: str


def _model_layers(beneath: ModelBase | None, layers: Sequence[Described], index_layer: Descriptor) -> list[_ModelLayer]:
    """Bottom to top."""
    index = index_layer.digest
    below = beneath.layers if beneath is not None else ()
    return [
        *(_ModelLayer(descriptor=b.describe(index), diff_id=b.digest, kind=b.kind, label=b.label) for b in below),
        *(
            _ModelLayer(descriptor=d.descriptor, diff_id=d.diff_id, kind=d.planned.kind, label=d.planned.label)
            for d in layers
        ),
        _ModelLayer(descriptor=index_layer, diff_id=index, kind=LayerKind.INDEX, label=INDEX_PATH),
    ]


def _image(base: Base, layers: Sequence[_ModelLayer], annotations: Mapping[str, str]) -> tuple[ImageConfig, Manifest]:
    """One platform's config and manifest."""
    config = _image_config(base, layers, annotations)
    model = [layer.descriptor for layer in layers]
    return config, Manifest(config=config.descriptor, layers=(*model, *base.layers), annotations=annotations)


def _image_config(base: Base, layers: Sequence[_ModelLayer], annotations: Mapping[str, str]) -> ImageConfig:
    """The base's config with the model's layers underneath."""
    history = [{"created_by": f"modelcar {layer.kind}", "comment": layer.label} for layer in layers]
    config = base.config.prepend_layers([layer.diff_id for layer in layers], history)
    if sum(not h.get("empty_layer") for h in base.config.history) != len(base.layers):
        config = config.edited(history=())  # engines compare the two, and a wrong history is worse than none
    labels = {**(base.config.runtime.get("Labels") or {}), **annotations}
    runtime: dict[str, Any] = {**base.config.runtime, "Labels": dict(sorted(labels.items()))}
    return config.edited(runtime=runtime)


def _twin(
    facts: ModelFacts,
    beneath: ModelBase | None,
    layers: Sequence[Described],
    index_layer: Descriptor,
    annotations: Mapping[str, str],
) -> tuple[Manifest, bytes]:
    """The ModelPack twin's manifest and its config's bytes."""
    below = beneath.layers if beneath is not None else ()
    twins = modelpack_layers([(layer.planned, layer.descriptor) for layer in layers], index_layer, below)
    digests = [*(layer.digest for layer in below), *(layer.diff_id for layer in layers), index_layer.digest]
    config = facts.modelpack_config([str(digest) for digest in digests])
    if beneath is not None and beneath.modelpack:  # which says what the model is; an adapter's files cannot
        config = {**beneath.modelpack, "modelfs": config["modelfs"]}
    return modelpack_manifest(config, twins, annotations)


def _entry(manifest: Manifest, platform: Platform) -> Descriptor:
    return Descriptor(
        media_type=manifest.media_type, digest=manifest.digest, size=len(manifest.content), platform=platform
    )
