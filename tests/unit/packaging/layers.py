"""Layers of tars, for images made by hand."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from modelcar.oci import Descriptor, Digest, Manifest, media_types
from modelcar.packaging.unpack import Readable, Unpacked, unpack_model

__all__ = ["Layers"]


class Layers:
    """Foreign layers in memory, opened as a registry would hand them out."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.descriptors: list[Descriptor] = []

    def add(self, members: list[tarfile.TarInfo | tuple[str, bytes]], media_type: str = media_types.LAYER_TAR) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for member in members:
                if isinstance(member, tarfile.TarInfo):
                    tar.addfile(member)
                else:
                    info = tarfile.TarInfo(member[0])
                    info.size = len(member[1])
                    tar.addfile(info, io.BytesIO(member[1]))
        self.add_blob(buffer.getvalue(), media_type)

    def add_blob(self, blob: bytes, media_type: str = media_types.LAYER_TAR) -> None:
        descriptor = Descriptor.of(media_type, blob)
        self.blobs[descriptor.digest] = blob
        self.descriptors.append(descriptor)

    @property
    def manifest(self) -> Manifest:
        return Manifest(config=Descriptor.of(media_types.CONFIG, b"{}"), layers=tuple(self.descriptors))

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[Readable]:
        stream = cast("BinaryIO", io.BytesIO(self.blobs[descriptor.digest]))
        yield descriptor.digest.verifying(stream, descriptor.size)

    def unpack(self, target: Path) -> Unpacked:
        return unpack_model(self.manifest, self.open, target)
