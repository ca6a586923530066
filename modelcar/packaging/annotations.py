"""Annotation keys that are ours, and the ones of other people that we write (`docs/formats/image.md`)."""

from __future__ import annotations

from typing import Final

__all__ = ["KIND", "LAYER", "MODELPACK", "MODELPACK_FILEPATH", "SNAPSHOT_INDEX", "SNAPSHOT_LAYER"]

LAYER: Final = "dev.modelcar.layer"  # on a layer: a LayerKind
KIND: Final = "dev.modelcar.kind"  # on an entry of the image index: MODELPACK
MODELPACK: Final = "modelpack"
# containerd hands snapshotters only layer annotations with this prefix, as labels.
SNAPSHOT_LAYER: Final = "containerd.io/snapshot/dev.modelcar.layer"  # a LayerKind
SNAPSHOT_INDEX: Final = "containerd.io/snapshot/dev.modelcar.index"  # digest of the layer that holds the model index

MODELPACK_FILEPATH: Final = "org.cncf.model.filepath"
