"""Uploads to a registry in another process: what goes there, and what is counted."""

from __future__ import annotations

import random
import time
from pathlib import Path

from modelcar.layers.bytemap import ByteMap
from modelcar.oci import Descriptor, Reference, media_types
from modelcar.registry import ClientSettings, Registry
from modelcar.testing.registry import MisbehavingRegistry

__all__ = ["Blob", "client", "reference", "upload"]


class Blob:
    """Random bytes in a file."""

    def __init__(self, folder: Path, size: int, seed: int) -> None:
        self.bytes = random.Random(seed).randbytes(size)
        self.file = folder / f"blob-{seed}"
        self.file.write_bytes(self.bytes)
        self.descriptor = Descriptor.of(media_types.LAYER_TAR, self.bytes)

    @property
    def content(self) -> ByteMap:
        return ByteMap.of_file(self.file, len(self.bytes))


def client(**settings: object) -> Registry:
    chosen = ClientSettings(**{"timeout": 10, **settings})  # type: ignore[arg-type]  # settings by their names
    return Registry(chosen, sleep=lambda seconds: time.sleep(min(seconds, 0.02)))


def reference(registry: MisbehavingRegistry) -> Reference:
    return Reference.parse(f"{registry.address}/org/model:v1")


def upload(registry: MisbehavingRegistry, *blobs: Blob, **settings: object) -> None:
    """And look that all is there."""
    with client(**settings) as sender:
        for blob in blobs:
            sender.upload_blob(reference(registry), blob.descriptor, blob.content)
    for blob in blobs:
        assert registry.blob(str(blob.descriptor.digest)) == blob.bytes
