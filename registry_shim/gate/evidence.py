"""Signatures and attestations on their way to clients: let through without a rule of their own, if that is what they
are. Nobody can run them, and whoever verifies an image must be able to get them."""

from __future__ import annotations

from modelcar.errors import InvalidContent, InvalidDocument, ModelcarError, NotFound, WorldError
from modelcar.oci import Descriptor, Digest, Index, Manifest, media_types
from modelcar.signing.bundle import MAX_BUNDLE, is_bundle_type, parse_bundle
from modelcar.signing.places import Place
from modelcar.signing.simplesigning import (
    DSSE_ENVELOPE,
    SIMPLE_SIGNING,
    parse_attestation,
    parse_signature,
    signed_digest,
)

__all__ = ["check_evidence", "looks_like_evidence"]

_MAX_CONFIG = 64 << 10  # bytes
_MAX_LAYERS = 100
_EMPTY = Digest.of(b"{}")
_CONFIGS = frozenset({media_types.EMPTY, *media_types.IMAGE_CONFIGS})


def looks_like_evidence(document: Manifest | Index) -> bool:
    """Whether a document claims to be signatures or attestations, or lists such only (a `sha256-…` referrers tag)."""
    if isinstance(document, Index):
        kinds = [entry.artifact_type or "" for entry in document.manifests]
        return bool(kinds) and all(map(is_bundle_type, kinds))
    return (
        0 < len(document.layers) <= _MAX_LAYERS
        and all(_is_evidence_type(layer.media_type) and layer.size <= MAX_BUNDLE for layer in document.layers)
        and (document.config.media_type in _CONFIGS or is_bundle_type(document.config.media_type))
        and document.config.size <= _MAX_CONFIG
    )


def check_evidence(document: Manifest, place: Place) -> frozenset[Digest]:
    """Read all of it, so that nothing else travels under its types; returns the blobs that may leave.

    A configuration, which nobody needs to verify anything, is left out if it cannot be had.

    Raises:
        InvalidContent: it is not what it claims to be.
        WorldError, NotFound: a layer cannot be had.
    """
    for layer in document.layers:
        _parse(layer, place.blob(layer, MAX_BUNDLE))
    layers = frozenset(layer.digest for layer in document.layers)
    if document.config.digest in layers or document.config.digest == _EMPTY:
        return layers | {document.config.digest}
    try:
        content = place.blob(document.config, _MAX_CONFIG)
    except (WorldError, NotFound):
        return layers
    if not content.lstrip().startswith(b"{"):
        raise InvalidDocument(f"the config {document.config.digest} is no JSON object")
    return layers | {document.config.digest}


def _parse(layer: Descriptor, content: bytes) -> None:
    try:
        if is_bundle_type(layer.media_type):
            parse_bundle(content)
        elif layer.media_type == SIMPLE_SIGNING:
            parse_signature(layer, content)
            signed_digest(content)
        else:
            parse_attestation(layer, content)
    except InvalidContent:
        raise
    except ModelcarError as e:
        raise InvalidDocument(str(e)) from None


def _is_evidence_type(media_type: str) -> bool:
    return is_bundle_type(media_type) or media_type in (SIMPLE_SIGNING, DSSE_ENVELOPE)
