"""Images made up from a seed, and `validate` for any store: the last line of every test that made an image."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, cast

from modelcar.errors import NotFound
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform, media_types
from modelcar.oci.validate import validate
from modelcar.store import Store, write_document

__all__ = ["RandomImage", "put_image", "random_image", "validate_in"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomImage:
    """An image index for two platforms that share their layers. `blobs` holds everything, documents included."""

    root: Descriptor
    blobs: Mapping[Digest, bytes]

    def open(self, digest: Digest) -> AbstractContextManager[BinaryIO]:
        """What `validate` takes."""
        try:
            return io.BytesIO(self.blobs[digest])
        except KeyError:
            raise NotFound(f"{digest} is not in this image") from None


def random_image(seed: int, *, layers: int = 3, size: int = 10_000, compressed: bool = False) -> RandomImage:
    """The same seed gives the same image. Each layer is a tar of one file of `size` random bytes."""
    chance = random.Random(seed)
    tars = [_tar(f"layer{i}", chance.randbytes(size)) for i in range(layers)]
    contents = [gzip.compress(tar, mtime=0) if compressed else tar for tar in tars]
    media_type = media_types.LAYER_TAR_GZIP if compressed else media_types.LAYER_TAR
    blobs = {Digest.of(content): content for content in contents}
    entries = []
    for platform in (Platform(os="linux", architecture="amd64"), Platform(os="linux", architecture="arm64")):
        config = ImageConfig(
            os=platform.os,
            architecture=platform.architecture,
            diff_ids=tuple(Digest.of(tar) for tar in tars),
            runtime={"Labels": {"seed": str(seed)}},
        )
        manifest = Manifest(
            config=config.descriptor, layers=tuple(Descriptor.of(media_type, content) for content in contents)
        )
        blobs |= {config.digest: config.content, manifest.digest: manifest.content}
        entries.append(Descriptor.of(manifest.media_type, manifest.content, platform=platform))
    index = Index(manifests=tuple(entries))
    return RandomImage(root=index.descriptor, blobs={**blobs, index.digest: index.content})


def put_image(store: Store, image: RandomImage) -> Descriptor:
    """Write an image into a store, children first as everyone must; returns its root."""
    for digest, content in image.blobs.items():
        write_document(store, content, digest)
    return image.root


def validate_in(store: Store, root: Descriptor) -> None:
    """Recompute every claim that the image at `root` makes, from the bytes in `store`."""
    validate(root, cast("Callable[[Digest], AbstractContextManager[BinaryIO]]", store.open))


def _tar(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
