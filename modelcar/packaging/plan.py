"""What would be built: which files go into which layer, bottom to top. Costs no I/O beyond what the checkpoint did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from modelcar.checkpoint import Checkpoint, CheckpointFile, Role
from modelcar.errors import UsageError
from modelcar.layers.bytemap import ByteMap, FileRange
from modelcar.layers.estargz import EstargzPlan, plan_estargz
from modelcar.layers.hashing import CHUNK_SIZE, LayerDigests
from modelcar.layers.plan import pack
from modelcar.layers.storedgzip import CRC_SIZE
from modelcar.layers.tar import Entry, VirtualTar, build_tar

__all__ = ["DEFAULT_MAX_LAYERS", "MODEL_ROOT", "LayerKind", "Packing", "PlannedLayer", "plan_layers"]

MODEL_ROOT: Final = "models"  # the folder in the image, relative to its root
DEFAULT_MAX_LAYERS: Final = 60  # overlay mounts have been seen to fail past about 70
OWN_LAYER_FROM: Final = 16 << 20  # bytes; whatever the role, a larger file is not one of the small ones


class LayerKind(StrEnum):
    """What a layer holds; also the value of its `dev.modelcar.layer` annotation."""

    WEIGHTS = "weights"
    FILES = "files"
    INDEX = "index"
    HOLDER = "holder"


class Packing(StrEnum):
    """How weight layers are packed: for modelcar's own mounts, or for another lazy snapshotter's."""

    TAR = "tar"
    ESTARGZ = "estargz"
    SOCI = "soci"  # the same layers as `TAR`, and tables of contents beside them


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLayer:
    """A layer of checkpoint files, laid out and not yet hashed.

    Attributes:
        tar: what the layer decompresses to, if it is not itself that; without the table of contents of `estargz`.
        spans: whether digests of evenly cut spans are wanted, too.
        top: the folder in the image that its files lie under.
    """

    kind: LayerKind
    files: tuple[CheckpointFile, ...]
    entries: tuple[Entry, ...]
    tar: VirtualTar
    estargz: EstargzPlan | None = None
    spans: bool = False
    top: str = MODEL_ROOT

    def place(self, file: CheckpointFile) -> str:
        """The path in the image of one of its files."""
        return f"{self.top}/{file.path}"

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        return self.estargz.size if self.estargz is not None else self.tar.content.size

    @property
    def tar_size(self) -> int:
        """Bytes of the tar, which is the blob unless that is packed."""
        return self.estargz.tar_size if self.estargz is not None else self.tar.content.size

    def is_completed_by(self, digests: LayerDigests) -> bool:
        """Whether these have all that its packing needs."""
        if self.estargz is not None:
            chunks = sum(-(-payload.size // CHUNK_SIZE) for payload in self.tar.payloads)
            return digests.packed is not None and len(digests.packed.crcs) == chunks * CRC_SIZE
        return not self.spans or len(digests.spans) == -(-self.size // CHUNK_SIZE)

    def content(self, digests: LayerDigests) -> ByteMap:
        """The blob."""
        return self.estargz.content(digests) if self.estargz is not None else self.tar.content

    @property
    def packing(self) -> Packing:
        if self.estargz is not None:
            return Packing.ESTARGZ
        return Packing.SOCI if self.spans else Packing.TAR

    @property
    def is_awaited(self) -> bool:
        """Whether some of its bytes are elsewhere still."""
        return any(file.awaited for file in self.files)

    def of(self, files: Sequence[CheckpointFile]) -> PlannedLayer:
        """The same layer, of the same files in the places where they are now."""
        return _layer(self.kind, files, self.packing, self.top)

    @property
    def label(self) -> str:
        """For people: the file's name, or how many there are."""
        if len(self.files) == 1:
            return self.files[0].path
        noun = "shards" if self.kind is LayerKind.WEIGHTS else "small files"
        return f"{len(self.files)} {noun}"


def plan_layers(
    checkpoint: Checkpoint,
    *,
    max_layers: int = DEFAULT_MAX_LAYERS,
    reserved: int = 2,
    packing: Packing = Packing.TAR,
    folder: str = "",
) -> list[PlannedLayer]:
    """Spread a checkpoint over layers: weight shards first, one a layer, then all small files in one.

    Args:
        max_layers: the most that the image may have in all.
        reserved: how many of those the index, the holder or the base take.
        packing: of the weights; the layer of small files is wanted at once, and a plain tar.
        folder: where in the model the files go, such as `adapters/poet`.

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
    if packing is not Packing.TAR and not weights:
        raise UsageError(f"there are no weights to pack as {packing}", hint=f"build it without --{packing}")
    top = f"{MODEL_ROOT}/{folder}" if folder else MODEL_ROOT
    layers = [
        _layer(LayerKind.WEIGHTS, weights[run.start : run.stop], packing, top)
        for run in pack([f.size for f in weights], limit=max(room, 1))
    ]
    if small:
        layers.append(_layer(LayerKind.FILES, small, top=top))
    return layers


def _has_own_layer(file: CheckpointFile) -> bool:
    return file.role is Role.WEIGHT or file.size >= OWN_LAYER_FROM


def _layer(
    kind: LayerKind, files: Sequence[CheckpointFile], packing: Packing = Packing.TAR, top: str = MODEL_ROOT
) -> PlannedLayer:
    entries = tuple(
        Entry(
            path=f"{top}/{f.path}",
            content=FileRange(path=f.source, offset=0, size=f.size, stamp=f.stamp, origin=f.origin),
        )
        for f in files
    )
    estargz = plan_estargz(entries) if packing is Packing.ESTARGZ else None
    return PlannedLayer(
        kind=kind,
        files=tuple(files),
        entries=entries,
        tar=estargz.tar if estargz is not None else build_tar(entries),
        estargz=estargz,
        spans=packing is Packing.SOCI,
        top=top,
    )
