"""The plan of an image as a snapshotter shows it: a folder for each layer, with what that layer alone holds. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from modelcar.errors import InvalidDocument, NotFound
from modelcar.mounts.plan import MountPlan
from modelcar.oci import Digest
from modelcar.packaging.annotations import SNAPSHOT_LAYER
from modelcar.packaging.plan import MODEL_ROOT

__all__ = ["by_layer", "folder_name"]

_DIGITS: Final = 12


def folder_name(layer: Digest) -> str:
    """The folder of a layer. Short: sixty of them are the options of one overlay mount, which have a page in all."""
    return layer.hex[:_DIGITS]


def by_layer(plan: MountPlan) -> MountPlan:
    """The files of the layers that say of themselves that they can be mounted, each as its layer's tar has it:
    `0123456789ab/models/model-00001-of-00002.safetensors`.

    Raises:
        NotFound: there is no such layer.
        InvalidDocument: two of them would have one folder.
    """
    chosen = [number for number, blob in enumerate(plan.blobs) if SNAPSHOT_LAYER in blob.annotations]
    if not chosen:
        raise NotFound(f"{plan.reference} has no layer that is meant to be mounted")
    folders = {number: folder_name(plan.blobs[number].digest) for number in chosen}
    if len(set(folders.values())) < len(chosen):
        raise InvalidDocument(f"{plan.reference}: the digests of two layers begin alike")
    files = [
        replace(file, path=f"{folders[file.blob]}/{MODEL_ROOT}/{file.path}", blob=chosen.index(file.blob))
        for file in plan.files
        if file.blob in folders
    ]
    return replace(
        plan,
        blobs=tuple(plan.blobs[number] for number in chosen),
        files=tuple(sorted(files, key=lambda file: file.path)),
        links=(),  # they lie in the layer of the small files, which is not mounted
    )
