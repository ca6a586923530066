"""An image before it is built: its layers, and how large what describes them will be. No weight is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from modelcar.checkpoint import Checkpoint
from modelcar.errors import UsageError
from modelcar.oci import Descriptor, Digest, media_types
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.base import Base
from modelcar.packaging.manifests import Described, describe_image, image_annotations
from modelcar.packaging.model_base import ModelBase, ModelBaseLayer
from modelcar.packaging.packed import describe_layer
from modelcar.packaging.plan import DEFAULT_MAX_LAYERS, MODEL_ROOT, LayerKind, Packing, PlannedLayer, plan_layers

__all__ = ["Outline", "outline_image"]

_SOME: Final = Digest.of(b"")  # a digest that is not known yet; all have one length


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What `build_image` is about to make.

    Attributes:
        layers: of the checkpoint's files, bottom to top.
        below: those of another image's model, which come first.
        bases: what the image runs; their layers come last.
        annotations: of the image.
    """

    checkpoint: Checkpoint
    layers: tuple[PlannedLayer, ...]
    bases: tuple[Base, ...]
    annotations: Mapping[str, str]
    beneath: ModelBase | None = None
    packing: Packing = Packing.TAR

    @property
    def below(self) -> tuple[ModelBaseLayer, ...]:
        return self.beneath.layers if self.beneath is not None else ()

    @cached_property
    def manifests(self) -> Mapping[str, int]:
        """Bytes of each manifest, by what people call it, but for a few: nobody knows yet how many digits the size of
        the layer with the model index has."""
        index = Descriptor(media_type=media_types.LAYER_TAR, digest=_SOME, size=0, annotations={LAYER: LayerKind.INDEX})
        layers = [
            Described(planned=planned, diff_id=_SOME, descriptor=describe_layer(planned, _SOME, index=_SOME, toc=_SOME))
            for planned in self.layers
        ]
        soci = Descriptor(media_type=media_types.MANIFEST, digest=_SOME, size=0)
        return describe_image(
            layers,
            index,
            bases=self.bases,
            facts=self.checkpoint.facts(),
            annotations=self.annotations,
            beneath=self.beneath,
            soci=soci if self.packing is Packing.SOCI else None,
        ).sizes


def outline_image(
    checkpoint: Checkpoint,
    bases: Sequence[Base],
    *,
    max_layers: int = DEFAULT_MAX_LAYERS,
    packing: Packing = Packing.TAR,
    annotations: Mapping[str, str] | None = None,
    beneath: ModelBase | None = None,
    folder: str = "",
) -> Outline:
    """Plan an image; the arguments are those of `build_image`.

    Raises:
        UsageError: there is no room for the layers, a file of the checkpoint has the place of one beneath, or it is
            packed in another way.
    """
    below = beneath.layers if beneath is not None else ()
    reserved = 1 + len(below) + max((len(base.layers) for base in bases), default=0)
    planned = plan_layers(checkpoint, max_layers=max_layers, reserved=reserved, packing=packing, folder=folder)
    _check_beneath(beneath, planned, packing)
    return Outline(
        checkpoint=checkpoint,
        layers=tuple(planned),
        bases=tuple(bases),
        annotations=image_annotations(checkpoint.facts().annotations(), annotations or {}),
        beneath=beneath,
        packing=packing,
    )


def _check_beneath(beneath: ModelBase | None, planned: Sequence[PlannedLayer], packing: Packing) -> None:
    if beneath is None:
        return
    if packing is not Packing.TAR:
        raise UsageError(f"an image with its base is a plain one, and cannot be packed as {packing}")
    places = {layer.place(file).removeprefix(f"{MODEL_ROOT}/") for layer in planned for file in layer.files}
    if both := sorted(places & beneath.paths):
        raise UsageError(f"the base has a file {both[0]}, too", hint="give the adapter another name")
