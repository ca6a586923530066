"""Small model images with an index, and a place that has their blobs and sends them as a test wants it."""

from __future__ import annotations

import io
import itertools
import random
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelcar.cache.origins import Origins
from modelcar.layers.hashing import Chunk
from modelcar.layers.index import INDEX_PATH, IndexedFile, IndexedLayer, ModelIndex
from modelcar.lazy.grid import Grid
from modelcar.lazy.sources import ChunkSource, Outcome
from modelcar.mounts.sources import origin_of_layout
from modelcar.oci import Descriptor, Digest, Manifest, media_types
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.locations import LayoutLocation
from modelcar.store.layout import OciLayout
from tests.support.chunks import MemorySource

__all__ = ["LazyImage", "Places", "layout_of", "lazy_image", "mount_request", "tar_of"]

CHUNK = 64 << 10


@dataclass(frozen=True, kw_only=True)
class LazyImage:
    """An image: its files by path, its manifest, its index, and all blobs."""

    files: Mapping[str, bytes]
    manifest: Manifest
    index: ModelIndex
    blobs: Mapping[Digest, bytes]

    def with_index(self, index: ModelIndex) -> LazyImage:
        """The same layers, and another index."""
        layer = _index_layer(index)
        described = Descriptor.of(media_types.LAYER_TAR, layer)
        described = replace(described, annotations={LAYER: "index"})
        layers = (*self.manifest.layers[:-1], described)
        manifest = Manifest(config=self.manifest.config, layers=layers)
        return replace(self, manifest=manifest, index=index, blobs={**self.blobs, described.digest: layer})


def tar_of(members: Iterable[tarfile.TarInfo | tuple[str, bytes]]) -> bytes:
    """A tar of files by name and content, and of other members as they are."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def lazy_image(*, shards: Sequence[int] = (200_000, 150_000), seed: int = 1, chunk: int = CHUNK) -> LazyImage:
    """Weight shards of these sizes in a layer each, then a layer of small files, then the index."""
    chance = random.Random(seed)
    weights = [{f"model-{n}.safetensors": chance.randbytes(size)} for n, size in enumerate(shards)]
    small = {"config.json": b'{"a": 1}', "sub/empty": b"", "sub/tokenizer.json": chance.randbytes(3000)}
    layers, blobs, described = [], {}, []
    for files, kind in [*((shard, "weights") for shard in weights), (small, "files")]:
        blob = tar_of((f"models/{path}", content) for path, content in sorted(files.items()))
        descriptor = replace(Descriptor.of(media_types.LAYER_TAR, blob), annotations={LAYER: kind})
        layers.append(descriptor)
        blobs[descriptor.digest] = blob
        described.append(_describe(descriptor, blob, kind, chunk))
    to_be_index = layers[0]
    image = LazyImage(
        files={path: content for each in (*weights, small) for path, content in each.items()},
        manifest=Manifest(config=Descriptor.of(media_types.CONFIG, b"{}"), layers=(*layers, to_be_index)),
        index=ModelIndex(root="/models", layers=()),
        blobs=blobs,
    )
    return image.with_index(ModelIndex(root="/models", layers=tuple(described)))


def layout_of(image: LazyImage, folder: Path) -> Path:
    """The image's blobs on this machine: where a keeper gets them from without a network."""
    layout = OciLayout(folder)
    for digest, content in image.blobs.items():
        with layout.begin(digest) as writer:
            writer.write(content)
            writer.commit()
    return layout.root


def mount_request(image: LazyImage, layout: Path, name: str = "m") -> dict[str, Any]:
    """What a keeper is asked to mount it by."""
    return {
        "id": name,
        "target": "/mnt/llm",
        "registry": origin_of_layout(LayoutLocation(layout)).registry,
        "repository": "",
        "supervisor": [],
        "front": "",
        "network": {},
        "reference": "oci:layout",
        "digest": str(image.manifest.digest),
        "manifest": image.manifest.content.decode(),
        "mediaType": image.manifest.media_type,
    }


class Places:
    """A `RouterFor`: all blobs that were put here, each with a `MemorySource` of its own."""

    def __init__(self, *images: LazyImage) -> None:
        self.sources: dict[Digest, MemorySource] = {}
        self.origins: list[Origins] = []
        for image in images:
            self.put(image)

    def put(self, image: LazyImage) -> None:
        for digest, content in image.blobs.items():
            self.sources.setdefault(digest, MemorySource(content))

    @property
    def sent(self) -> int:
        """Bytes of all blobs."""
        return sum(source.sent for source in self.sources.values())

    def __call__(self, _: Descriptor, origins: Origins) -> Places:
        self.origins.append(origins)
        return self

    def background(self, grid: Grid) -> Iterable[int]:
        return range(len(grid))

    def candidates(self, grid: Grid, _number: int) -> Sequence[ChunkSource]:
        return [self.sources[grid.digest]]

    def is_at_hand(self, _grid: Grid, _number: int) -> bool:
        return True

    def report(self, source: ChunkSource, outcome: Outcome, size: int, seconds: float) -> None:
        pass


def _describe(layer: Descriptor, blob: bytes, role: str, chunk: int) -> IndexedLayer:
    with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
        files = tuple(
            IndexedFile(path=m.name.removeprefix("models/"), offset=m.offset_data, size=m.size, role="other")
            for m in tar
            if m.isreg()
        )
    cuts = [*range(0, len(blob), chunk), len(blob)]
    chunks = tuple(Chunk(offset=a, size=b - a, digest=Digest.of(blob[a:b])) for a, b in itertools.pairwise(cuts))
    return IndexedLayer(digest=layer.digest, size=layer.size, media_type=layer.media_type, chunks=chunks, files=files)


def _index_layer(index: ModelIndex) -> bytes:
    return tar_of([(INDEX_PATH, index.to_json())])
