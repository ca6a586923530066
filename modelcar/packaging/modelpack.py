"""The ModelPack twin: a second manifest over the same blobs, for tools that speak CNCF model-spec v0.0.7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelcar.checkpoint import Role
from modelcar.layers.index import INDEX_PATH
from modelcar.oci import Descriptor, Manifest, compact_json, media_types
from modelcar.packaging.annotations import MODELPACK_FILEPATH
from modelcar.packaging.model_base import ModelBaseLayer
from modelcar.packaging.plan import MODEL_ROOT, PlannedLayer

__all__ = ["modelpack_layers", "modelpack_manifest"]

_WEIGHT: Final = "application/vnd.cncf.model.weight.v1.tar"
_CONFIG: Final = "application/vnd.cncf.model.weight.config.v1.tar"
_DOC: Final = "application/vnd.cncf.model.doc.v1.tar"


def modelpack_layers(
    layers: Sequence[tuple[PlannedLayer, Descriptor]], index_layer: Descriptor, below: Sequence[ModelBaseLayer] = ()
) -> list[Descriptor]:
    """The same blobs under ModelPack's media types; `filepath` is where the content lies once a layer is unpacked.
    `below` are layers of another image that come first."""
    result = [_below(layer) for layer in below]
    for planned, descriptor in layers:
        path = planned.place(planned.files[0]) if len(planned.files) == 1 else planned.top
        has_weights = any(file.role is Role.WEIGHT for file in planned.files)  # or else it is, say, a large tokenizer
        result.append(_layer(descriptor, _WEIGHT if has_weights else _CONFIG, path))
    return [*result, _layer(index_layer, _DOC, INDEX_PATH)]


def modelpack_manifest(
    config: Mapping[str, Any], layers: Sequence[Descriptor], annotations: Mapping[str, str]
) -> tuple[Manifest, bytes]:
    """The twin's manifest and its config's bytes."""
    content = compact_json(dict(config))
    manifest = Manifest(
        artifact_type=media_types.MODELPACK_MANIFEST,
        config=Descriptor.of(media_types.MODELPACK_CONFIG, content),
        layers=tuple(layers),
        annotations=annotations,
    )
    return manifest, content


def _below(layer: ModelBaseLayer) -> Descriptor:
    files = layer.indexed.files
    path = f"{MODEL_ROOT}/{files[0].path}" if len(files) == 1 else MODEL_ROOT
    has_weights = any(file.role == Role.WEIGHT for file in files)
    return _layer(layer.descriptor, _WEIGHT if has_weights else _CONFIG, path)


def _layer(descriptor: Descriptor, media_type: str, path: str) -> Descriptor:
    packed = "+gzip" if descriptor.media_type == media_types.LAYER_TAR_GZIP else ""
    return Descriptor(
        media_type=f"{media_type}{packed}",
        digest=descriptor.digest,
        size=descriptor.size,
        annotations={MODELPACK_FILEPATH: path},
    )
