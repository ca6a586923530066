"""Annotation keys that are ours, and the ones of other people that we write (`docs/formats/image.md`)."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ADAPTER_BASE_DIGEST",
    "ADAPTER_BASE_NAME",
    "KIND",
    "LAYER",
    "MODELPACK",
    "MODELPACK_FILEPATH",
    "SNAPSHOT_INDEX",
    "SNAPSHOT_LAYER",
    "SOCI",
    "SOCI_INDEX",
    "SOCI_LAYER_DIGEST",
    "SOCI_LAYER_TYPE",
    "SOCI_SPAN_SIZE",
    "SOCI_TOOL",
]

LAYER: Final = "dev.modelcar.layer"  # on a layer: a LayerKind
KIND: Final = "dev.modelcar.kind"  # on an entry of the image index: MODELPACK or SOCI
MODELPACK: Final = "modelpack"
SOCI: Final = "soci"
# containerd hands snapshotters only layer annotations with this prefix, as labels.
SNAPSHOT_LAYER: Final = "containerd.io/snapshot/dev.modelcar.layer"  # a LayerKind
SNAPSHOT_INDEX: Final = "containerd.io/snapshot/dev.modelcar.index"  # digest of the layer that holds the model index

# Not `org.opencontainers.image.base.*`: those are about what an image runs.
ADAPTER_BASE_NAME: Final = "dev.modelcar.adapter.base.name"  # of which image this is an adapter: for people
ADAPTER_BASE_DIGEST: Final = "dev.modelcar.adapter.base.digest"  # and for whoever loads both

MODELPACK_FILEPATH: Final = "org.cncf.model.filepath"

SOCI_INDEX: Final = "com.amazon.soci.index-digest"  # on an image manifest
SOCI_TOOL: Final = "com.amazon.soci.build-tool-identifier"  # on a SOCI index
# On its entries: which layer of the image they describe.
SOCI_LAYER_DIGEST: Final = "com.amazon.soci.image-layer-digest"
SOCI_LAYER_TYPE: Final = "com.amazon.soci.image-layer-mediaType"
SOCI_SPAN_SIZE: Final = "com.amazon.soci.span-size"  # bytes
