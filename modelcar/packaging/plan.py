"""What would be built: which files go into which layer, bottom to top. Costs no I/O beyond what the checkpoint did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from modelcar.checkpoint import Checkpoint, CheckpointFile, Role
from modelcar.errors import UsageError
from modelcar.layers.bytemap import FileRange
from modelcar.layers.plan import pack
from modelcar.layers.tar import Entry, VirtualTar, build_tar

__all__ = ["DEFAULT_MAX_LAYERS", "MODEL_ROOT", "LayerKind", "PlannedLayer", "plan_layers"]

MODEL_ROOT: Final = "models"  # the folder in the image, relative to its root
DEFAULT_MAX_LAYERS: Final = 60  # overlay mounts have been seen to fail past about 70
OWN_LAYER_FROM: Final = 16 << 20  # bytes; whatever the role, a larger file is not one of the small ones


class LayerKind(StrEnum):
    """What a layer holds; also the value of its `dev.modelcar.layer` annotation."""

    WEIGHTS = "weights"
    FILES = "files"
    INDEX = "index"
    HOLDER = "holder"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLayer:
    """A layer of checkpoint files, laid out and not yet hashed."""

    kind: LayerKind
    files: tuple[CheckpointFile, ...]
    entries: tuple[Entry, ...]
    tar: VirtualTar

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        return self.tar.content.size

    @property
    def label(self) -> str:
        """For people: the file's name, or how many there are."""
        if len(self.files) == 1:
            return self.files[0].path
        noun = "shards" if self.kind is LayerKind.WEIGHTS else "small files"
        return f"{len(self.files)} {noun}"


def plan_layers(
    checkpoint: Checkpoint, *, max_layers: int = DEFAULT_MAX_LAYERS, reserved: int = 2
) -> list[PlannedLayer]:
    """Spread a checkpoint over layers: weight shards first, one a layer, then all small files in one.

    Args:
        max_layers: the most that the image may have in all.
        reserved: how many of those the index, the holder or the base take.

    Raises:
        UsageError: there is no room for them.
    """
    weights = [f for f in checkpoint.files if _has_own_layer(f)]
    small = [f for f in checkpoint.files if not _has_own_layer(f)]
    room = max_layers - reserved - (1 if small else 0)
    if room < (1 if weights else 0):
        raise UsageError(
            f"{max_layers} layers leave no room for {'weights' if weights else 'the model'}: "
            f"{max_layers - room} are taken by other layers",
            hint="raise --max-layers",
        )
    layers = [
        _layer(LayerKind.WEIGHTS, weights[run.start : run.stop])
        for run in pack([f.size for f in weights], limit=max(room, 1))
    ]
    if small:
        layers.append(_layer(LayerKind.FILES, small))
    return layers


def _has_own_layer(file: CheckpointFile) -> bool:
    return file.role is Role.WEIGHT or file.size >= OWN_LAYER_FROM


def _layer(kind: LayerKind, files: Sequence[CheckpointFile]) -> PlannedLayer:
    entries = tuple(
        Entry(
            path=f"{MODEL_ROOT}/{f.path}",
            content=FileRange(path=f.source, offset=0, size=f.size, stamp=f.stamp),
        )
        for f in files
    )
    return PlannedLayer(kind=kind, files=tuple(files), entries=entries, tar=build_tar(entries))
