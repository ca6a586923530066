"""Recompute every claim that an image makes. The last line of every test that made one, and of doubtful moments."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Final, cast

from modelcar.errors import InvalidDocument
from modelcar.oci import media_types
from modelcar.oci.descriptor import Descriptor
from modelcar.oci.digest import Digest
from modelcar.oci.document import MAX_DOCUMENT, Fields, parse_object
from modelcar.oci.manifest import ImageConfig, Manifest, parse_manifest

__all__ = ["MAX_NESTING", "validate"]

MAX_NESTING: Final = 8  # indexes within indexes; real ones have two

OpenBlob = Callable[[Digest], AbstractContextManager[BinaryIO]]
_GZIP = frozenset({media_types.LAYER_TAR_GZIP, media_types.DOCKER_LAYER_GZIP})
_UNREADABLE = frozenset({media_types.LAYER_TAR_ZSTD})  # Python before 3.14 has no zstd


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
        self._documents: set[tuple[Digest, int, str, str]] = set()
        self._layers: dict[tuple[Digest, int, bool], Digest] = {}  # to diff id

    def document(self, descriptor: Descriptor, depth: int = 0) -> None:
        claims = (descriptor.digest, descriptor.size, descriptor.media_type, str(descriptor.platform))
        if claims in self._documents:
            return
        self._documents.add(claims)
        document = parse_manifest(self._small(descriptor), descriptor.media_type)
        if isinstance(document, Manifest):
            self._manifest(descriptor, document)
            return
        if depth == MAX_NESTING:
            raise InvalidDocument(f"{descriptor.digest}: indexes are nested more than {MAX_NESTING} deep")
        for entry in document.manifests:
            if entry.media_type in media_types.INDEXES | media_types.MANIFESTS:
                self.document(entry, depth + 1)
            else:
                self._bytes(entry)

    def _manifest(self, entry: Descriptor, manifest: Manifest) -> None:
        config = self._small(manifest.config)
        if manifest.is_image:
            self._image(entry, manifest, ImageConfig.parse(config))
        elif manifest.config.media_type == media_types.MODELPACK_CONFIG:
            modelfs = Fields(parse_object(config, "ModelPack config"), "config").optional_object("modelfs")
            self._diff_ids(manifest, () if modelfs is None else modelfs.texts("diffIds"))
        else:
            for layer in manifest.layers:
                self._bytes(layer)

    def _image(self, entry: Descriptor, manifest: Manifest, config: ImageConfig) -> None:
        self._diff_ids(manifest, [str(d) for d in config.diff_ids])
        layers_in_history = sum(not h.get("empty_layer") for h in config.history)
        if config.history and layers_in_history != len(manifest.layers):
            raise InvalidDocument(
                f"{manifest.config.digest}: history has {layers_in_history} layers, the manifest {len(manifest.layers)}"
            )
        claimed = entry.platform
        if claimed and (claimed.os, claimed.architecture) != (config.os, config.architecture):
            raise InvalidDocument(f"{entry.digest} is listed for {claimed} and is for {config.platform}")

    def _diff_ids(self, manifest: Manifest, claimed: Sequence[str]) -> None:
        actual = [str(self._layer(layer)) for layer in manifest.layers]
        if list(claimed) != actual:
            raise InvalidDocument(
                f"{manifest.config.digest}: diff ids do not agree with the layers of {manifest.digest}"
            )

    def _small(self, descriptor: Descriptor) -> bytes:
        if descriptor.size > MAX_DOCUMENT:
            raise InvalidDocument(f"{descriptor.digest} has {descriptor.size} bytes, too many for a document")
        with self._open(descriptor.digest) as stream:
            content = stream.read(descriptor.size + 1)
        descriptor.check(content)
        return content

    def _layer(self, descriptor: Descriptor) -> Digest:
        """Check a layer and return its diff id (for a compressed layer, the digest of what it unpacks to)."""
        if descriptor.media_type in _UNREADABLE:
            raise InvalidDocument(f"{descriptor.digest}: the diff id of a {descriptor.media_type} cannot be computed")
        packed = descriptor.media_type in _GZIP or descriptor.media_type.endswith(".tar+gzip")  # ModelPack's too
        claims = (descriptor.digest, descriptor.size, packed)
        if claims not in self._layers:
            self._bytes(descriptor)
            self._layers[claims] = self._unpacked(descriptor) if claims[-1] else descriptor.digest
        return self._layers[claims]

    def _bytes(self, descriptor: Descriptor) -> None:
        with self._open(descriptor.digest) as stream:
            verified = descriptor.digest.verifying(stream, descriptor.size)
            while verified.read(1 << 20):
                pass

    def _unpacked(self, descriptor: Descriptor) -> Digest:
        """The digest of what a layer unpacks to; its own digest was checked before, so damage is the publisher's."""
        with self._open(descriptor.digest) as stream, gzip.GzipFile(fileobj=stream, mode="rb") as unpacked:
            try:
                return Digest.of_stream(cast("BinaryIO", unpacked))
            except (OSError, EOFError, zlib.error) as e:
                raise InvalidDocument(f"{descriptor.digest} does not unpack: {e}") from None
