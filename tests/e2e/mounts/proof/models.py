"""Small models with many chunks, in the library of an upstream and, as the truth, in a folder."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from modelcar.oci import Descriptor, Manifest
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.plan import LayerKind
from tests.e2e.shim_proof.library import Library
from tests.support.lazy_images import LazyImage, lazy_image

__all__ = ["SmallModel", "small_model"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallModel:
    """`truth` has its files; `size` is of all blobs."""

    repository: str
    manifest: Manifest
    truth: Path
    image: LazyImage

    @property
    def weights(self) -> list[Descriptor]:
        """The layers with the weights."""
        return [layer for layer in self.manifest.layers if layer.annotations[LAYER] == LayerKind.WEIGHTS]

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.manifest.layers)


def small_model(library: Library, folder: Path, seed: int, *, size: int = 1_500_000) -> SmallModel:
    """About `size` bytes in chunks of 64 KiB; the same seed gives the same model."""
    cuts = random.Random(seed)
    first = cuts.randrange(size // 4, size // 2)
    image = lazy_image(shards=(first, size - first), seed=seed)
    repository = f"org/model-{seed}"
    blobs = [library.document(content) for content in image.blobs.values()]
    library.add(repository, library.document(image.manifest.content), *blobs, tag="v1")
    truth = folder / f"truth-{seed}"
    for path, content in image.files.items():
        (truth / path).parent.mkdir(parents=True, exist_ok=True)
        (truth / path).write_bytes(content)
    return SmallModel(repository=repository, manifest=image.manifest, truth=truth, image=image)
