"""The ModelPack twin: a second manifest over the same blobs, for tools that speak CNCF model-spec v0.0.7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelcar.oci import Descriptor, Manifest, compact_json, media_types
from modelcar.packaging.annotations import MODELPACK_FILEPATH
from modelcar.packaging.plan import MODEL_ROOT, LayerKind, PlannedLayer

__all__ = ["modelpack_layers", "modelpack_manifest"]

_LAYER_TYPE: Final = {
    LayerKind.WEIGHTS: "application/vnd.cncf.model.weight.v1.tar",
    LayerKind.FILES: "application/vnd.cncf.model.weight.config.v1.tar",
}
_INDEX_TYPE: Final = "application/vnd.cncf.model.doc.v1.tar"


def modelpack_layers(layers: Sequence[tuple[PlannedLayer, Descriptor]], index_layer: Descriptor) -> list[Descriptor]:
    """The same blobs under ModelPack's media types; `filepath` is where the content lies once a layer is unpacked."""
    result = []
    for planned, descriptor in layers:
        path = f"{MODEL_ROOT}/{planned.files[0].path}" if len(planned.files) == 1 else MODEL_ROOT
        result.append(_layer(descriptor, _LAYER_TYPE[planned.kind], path))
    return [*result, _layer(index_layer, _INDEX_TYPE, ".modelcar/index.json")]


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


def _layer(descriptor: Descriptor, media_type: str, path: str) -> Descriptor:
    return Descriptor(
        media_type=media_type,
        digest=descriptor.digest,
        size=descriptor.size,
        annotations={MODELPACK_FILEPATH: path},
    )
