"""What a pushed manifest is and refers to. Pure: bytes in, values out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelcar.errors import InvalidDocument
from modelcar.oci import Descriptor, Digest, Index, parse_manifest, parse_object
from modelcar.oci.media_types import INDEXES, MANIFESTS
from registry_shim.distribution.repositories import ManifestLink

__all__ = ["Document", "read_manifest"]

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}", re.IGNORECASE | re.ASCII)
_VAGUE = frozenset({"application/json", "application/octet-stream", "application/x-www-form-urlencoded", "text/plain"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A manifest's link, and what must be in the repository before it: blobs, and an index's manifests."""

    link: ManifestLink
    blobs: tuple[Digest, ...] = ()
    manifests: tuple[Digest, ...] = ()


def read_manifest(content: bytes, content_type: str, digest: Digest) -> Document:
    """Understand `content`, pushed as `content_type` under `digest`. A type that we do not know is kept as it is.

    Raises:
        InvalidContent: it is not what its type, or its own `mediaType`, says.
    """
    declared = content_type.partition(";")[0].strip()
    if declared in _VAGUE:
        declared = ""
    own = _own_media_type(content)
    media_type = declared or own
    if media_type and not _MEDIA_TYPE.fullmatch(media_type):
        raise InvalidDocument(f"{media_type!r} is not a media type")
    if own and own != media_type:
        raise InvalidDocument(f"it is pushed as {declared}, and calls itself {own!r}")
    if media_type and media_type not in INDEXES | MANIFESTS:
        return Document(link=ManifestLink(Descriptor(media_type=media_type, digest=digest, size=len(content))))
    return _image_document(content, media_type, digest)


def _own_media_type(content: bytes) -> str | None:
    try:
        own = parse_object(content, "manifest").get("mediaType")
    except InvalidDocument:  # of a kind that we do not know, perhaps not JSON at all
        return None
    return own if isinstance(own, str) else None


def _image_document(content: bytes, media_type: str | None, digest: Digest) -> Document:
    manifest = parse_manifest(content, media_type)
    artifact_type = manifest.artifact_type
    blobs: tuple[Digest, ...] = ()
    manifests: tuple[Digest, ...] = ()
    if isinstance(manifest, Index):
        manifests = tuple(entry.digest for entry in manifest.manifests)
    else:
        artifact_type = artifact_type or manifest.config.media_type
        blobs = tuple(blob.digest for blob in manifest.blobs if not _is_elsewhere(blob))
    descriptor = Descriptor(
        media_type=manifest.media_type,
        digest=digest,
        size=len(content),
        artifact_type=artifact_type,
        annotations=manifest.annotations,
    )
    subject = manifest.subject.digest if manifest.subject else None
    return Document(link=ManifestLink(descriptor, subject), blobs=blobs, manifests=manifests)


def _is_elsewhere(blob: Descriptor) -> bool:
    """Layers that may not be distributed (`…nondistributable…`, Docker's `…foreign…`) are fetched from their URLs."""
    return "nondistributable" in blob.media_type or "foreign" in blob.media_type
