"""From an image to what a mount of it shows: by its model index, or by the members of its tars."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from modelcar.errors import InvalidContent, NotFound, UsageError
from modelcar.layers.index import IndexedLayer, ModelIndex
from modelcar.mounts.plan import MountedFile, MountPlan
from modelcar.mounts.tars import Tree
from modelcar.oci import Descriptor, Manifest, media_types
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.inspect import index_layer_of
from modelcar.packaging.plan import MODEL_ROOT, LayerKind

__all__ = ["Reading", "is_plain", "plan_image"]

_MODELPACK = "application/vnd.cncf.model."
_MODEL: frozenset[str] = frozenset({LayerKind.WEIGHTS, LayerKind.FILES})


class Reading(Protocol):
    """Reads an image; whatever it returns was verified. Raises `WorldError` and `InvalidContent`."""

    def index(self, layer: Descriptor) -> ModelIndex:
        """The model index in a layer; its outline is enough."""

    def layer(self, layer: Descriptor) -> AbstractContextManager[BinaryIO]:
        """All of a layer, as a file that can be sought in."""


def plan_image(reference: str, manifest: Manifest, reading: Reading) -> MountPlan:
    """What a mount of an image shows: the files under `/models`, directly below the mount point.

    With a model index nothing else of the image is read. Without one all of its layers are, as an engine would apply
    them, one after the other.

    Raises:
        InvalidContent: the index does not describe the layers of the model, or a layer holds what a model must not.
        UsageError: a layer is compressed, so that its files have no place in it.
        NotFound: the image holds no model.
    """
    index = index_layer_of(manifest)
    plan = (
        _by_index(reference, manifest, index, reading.index(index))
        if index is not None
        else _by_members(reference, manifest, reading)
    )
    if not plan.files and not plan.links:
        raise NotFound(f"{reference} has no files under /{MODEL_ROOT}", hint="`modelcar inspect` shows what it is")
    plan.check()
    return plan


def _by_index(reference: str, manifest: Manifest, index: Descriptor, model: ModelIndex) -> MountPlan:
    """The index speaks of layers that the manifest lists; what it says of others is void."""
    described = {layer.digest: layer for layer in model.layers if layer.blob is None}  # of others it tells the tar
    chosen: list[tuple[Descriptor, IndexedLayer]] = []
    for layer in manifest.layers:
        known = described.get(layer.digest)
        if known is not None or layer.annotations.get(LAYER) in _MODEL:
            _check_plain(reference, layer)
        if known is not None and known.size == layer.size:
            if layer.digest not in (d.digest for d, _ in chosen):
                chosen.append((layer, known))
        elif layer.annotations.get(LAYER) in _MODEL:
            raise InvalidContent(
                f"the model index of {reference} does not describe its layer {layer.digest}",
                hint="`modelcar pull -o DIR` gets the files, which are checked against the digests of whole layers",
            )
    chosen.sort(key=lambda pair: pair[0].annotations.get(LAYER) != LayerKind.FILES)  # loaders begin with config.json
    files = [
        MountedFile(path=file.path, blob=number, offset=file.offset, size=file.size)
        for number, (_, known) in enumerate(chosen)
        for file in known.files
    ]
    return MountPlan(
        reference=reference,
        digest=manifest.digest,
        blobs=tuple(layer for layer, _ in chosen),
        files=tuple(sorted(files, key=lambda file: file.path)),
        index=index,
    )


def _by_members(reference: str, manifest: Manifest, reading: Reading) -> MountPlan:
    tree = Tree(MODEL_ROOT)
    for layer in manifest.layers:
        _check_plain(reference, layer)
        with reading.layer(layer) as tar:
            tree.apply(layer, tar)
    files, links = tree.files(), tree.links()
    held = {file.layer.digest for file in files}
    used = {layer.digest: layer for layer in manifest.layers if layer.digest in held}
    numbers = {digest: number for number, digest in enumerate(used)}
    return MountPlan(
        reference=reference,
        digest=manifest.digest,
        blobs=tuple(used.values()),
        files=tuple(
            MountedFile(path=f.path, blob=numbers[f.layer.digest], offset=f.offset, size=f.size) for f in files
        ),
        links=links,
    )


def is_plain(layer: Descriptor) -> bool:
    """Whether it is a tar, so that files have places in it."""
    return layer.media_type in media_types.UNCOMPRESSED_LAYERS


def _check_plain(reference: str, layer: Descriptor) -> None:
    if layer.media_type.startswith(_MODELPACK):
        raise UsageError(
            f"{reference} cannot be mounted: it is a ModelPack artifact and no image",
            hint="mount the image that was built with it, or get its files by `modelcar pull -o DIR`",
        )
    if not is_plain(layer):
        raise UsageError(
            f"{reference} cannot be mounted: its layer {layer.digest} is compressed ({layer.media_type})",
            hint="`modelcar pull -o DIR` gets its files; built without --estargz, the layers of a model are plain",
        )
