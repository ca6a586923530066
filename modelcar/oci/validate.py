"""Recompute every claim that an image makes. The last line of every test that made one, and of doubtful moments."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import IO, BinaryIO, cast

from modelcar.errors import InvalidDocument
from modelcar.oci import media_types
from modelcar.oci.descriptor import Descriptor
from modelcar.oci.digest import Digest
from modelcar.oci.document import MAX_DOCUMENT, Fields, parse_object
from modelcar.oci.manifest import ImageConfig, Index, Manifest, parse_manifest

__all__ = ["validate"]

OpenBlob = Callable[[Digest], AbstractContextManager[BinaryIO]]
_GZIP = frozenset({media_types.LAYER_TAR_GZIP, media_types.DOCKER_LAYER_GZIP})


def validate(root: Descriptor, open_blob: OpenBlob) -> None:
    """Check everything reachable from `root`: digests and sizes of every byte, diff ids, counts, platforms.

    Args:
        open_blob: opens the content of a digest; raises `NotFound` where there is none.

    Raises:
        InvalidContent: a claim is false; the message says whose and which.
        NotFound: something is missing.
    """
    _Validator(open_blob).document(root)


class _Validator:
    def __init__(self, open_blob: OpenBlob) -> None:
        self._open = open_blob
        self._seen: dict[Digest, Digest] = {}  # layer to diff id

    def document(self, descriptor: Descriptor) -> None:
        document = parse_manifest(self._small(descriptor), descriptor.media_type)
        if isinstance(document, Index):
            for entry in document.manifests:
                self.document(entry)
            return
        diff_ids = [self._layer(layer) for layer in document.layers]
        config = self._small(document.config)
        if document.is_image:
            self._image(descriptor, document, ImageConfig.parse(config), diff_ids)
        elif document.config.media_type == media_types.MODELPACK_CONFIG:
            modelfs = Fields(parse_object(config, "ModelPack config"), "config").optional_object("modelfs")
            self._compare(document, [] if modelfs is None else list(modelfs.texts("diffIds")), diff_ids)

    def _image(self, entry: Descriptor, manifest: Manifest, config: ImageConfig, diff_ids: list[Digest]) -> None:
        self._compare(manifest, [str(d) for d in config.diff_ids], diff_ids)
        layers_in_history = sum(not h.get("empty_layer") for h in config.history)
        if config.history and layers_in_history != len(manifest.layers):
            raise InvalidDocument(
                f"{manifest.config.digest}: history has {layers_in_history} layers, the manifest {len(manifest.layers)}"
            )
        claimed = entry.platform
        if claimed and (claimed.os, claimed.architecture) != (config.os, config.architecture):
            raise InvalidDocument(f"{entry.digest} is listed for {claimed} and is for {config.platform}")

    def _compare(self, manifest: Manifest, claimed: list[str], actual: list[Digest]) -> None:
        if claimed != [str(d) for d in actual]:
            raise InvalidDocument(
                f"{manifest.config.digest}: diff ids do not agree with the layers of {manifest.digest}"
            )

    def _small(self, descriptor: Descriptor) -> bytes:
        with self._open(descriptor.digest) as stream:
            content = stream.read(min(descriptor.size, MAX_DOCUMENT) + 1)
        descriptor.check(content)
        return content

    def _layer(self, descriptor: Descriptor) -> Digest:
        """Check a layer and return its diff id (for a compressed layer, the digest of what it unpacks to)."""
        if descriptor.digest not in self._seen:
            with self._open(descriptor.digest) as stream:
                verified = descriptor.digest.verifying(stream, descriptor.size)
                if descriptor.media_type in _GZIP:
                    unpacked = gzip.GzipFile(fileobj=cast("IO[bytes]", verified), mode="rb")
                    diff_id = Digest.of_stream(cast("BinaryIO", unpacked))
                else:
                    diff_id = descriptor.digest
                while verified.read(1 << 20):
                    pass
            self._seen[descriptor.digest] = diff_id
        return self._seen[descriptor.digest]
