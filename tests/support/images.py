"""Images made up from a seed, and `validate` for any store: the last line of every test that made an image."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, cast

from modelcar.errors import NotFound
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform, media_types
from modelcar.oci.validate import validate
from modelcar.store import Store, write_document

__all__ = ["Documents", "RandomImage", "describe", "open_in", "put_image", "random_image", "validate_in"]

OpenBlob = Callable[[Digest], AbstractContextManager[BinaryIO]]
ARCHITECTURES = ("amd64", "arm64", "riscv64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """An index of images for several platforms that share their layers."""

    index: Index
    manifests: tuple[Manifest, ...]
    configs: tuple[ImageConfig, ...]

    @property
    def blobs(self) -> dict[Digest, bytes]:
        """All of them, children first."""
        return {d.digest: d.content for d in (*self.configs, *self.manifests, self.index)}


def describe(
    layers: Sequence[Descriptor],
    *,
    diff_ids: Sequence[Digest] | None = None,
    platforms: int = 2,
    labels: Mapping[str, str] | None = None,
) -> Documents:
    """The documents over these layers, which are their own diff ids unless those are given."""
    configs = tuple(
        ImageConfig(
            os="linux",
            architecture=architecture,
            diff_ids=tuple(diff_ids or (layer.digest for layer in layers)),
            runtime={"Labels": dict(labels)} if labels else {},
        )
        for architecture in ARCHITECTURES[:platforms]
    )
    manifests = tuple(Manifest(config=config.descriptor, layers=tuple(layers)) for config in configs)
    entries = tuple(
        Descriptor.of(m.media_type, m.content, platform=Platform(os="linux", architecture=c.architecture))
        for m, c in zip(manifests, configs, strict=True)
    )
    return Documents(index=Index(manifests=entries), manifests=manifests, configs=configs)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomImage:
    """An image index with all that it reaches."""

    documents: Documents
    blobs: Mapping[Digest, bytes]

    @property
    def root(self) -> Descriptor:
        return self.documents.index.descriptor


def random_image(
    seed: int, *, sizes: Sequence[int] = (10_000, 10_000, 10_000), compressed: bool = False, platforms: int = 2
) -> RandomImage:
    """The same seed gives the same image. Its layers are random bytes, not tars; sizes are theirs unpacked."""
    chance = random.Random(seed)
    plain = [chance.randbytes(size) for size in sizes]
    contents = [gzip.compress(data, mtime=0) if compressed else data for data in plain]
    media_type = media_types.LAYER_TAR_GZIP if compressed else media_types.LAYER_TAR
    documents = describe(
        [Descriptor.of(media_type, content) for content in contents],
        diff_ids=[Digest.of(data) for data in plain],
        platforms=platforms,
        labels={"seed": str(seed)},
    )
    return RandomImage(
        documents=documents, blobs={**{Digest.of(content): content for content in contents}, **documents.blobs}
    )


def put_image(store: Store, image: RandomImage) -> Descriptor:
    """Write an image into a store, children first as everyone must; returns its root."""
    for digest, content in image.blobs.items():
        write_document(store, content, digest)
    return image.root


def open_in(blobs: Mapping[Digest, bytes]) -> OpenBlob:
    """What `validate` takes, for blobs in memory."""

    def open_blob(digest: Digest) -> AbstractContextManager[BinaryIO]:
        try:
            return io.BytesIO(blobs[digest])
        except KeyError:
            raise NotFound(f"{digest} is not in this image") from None

    return open_blob


def validate_in(store: Store, root: Descriptor) -> None:
    """Recompute every claim that the image at `root` makes, from the bytes in `store`."""
    validate(root, cast("OpenBlob", store.open))
