"""cosign's older format: payloads in the layers of an image that lies under a tag named after the signed digest.

Source: cosign's `specs/SIGNATURE_SPEC.md`; containers/image `containers-signature(5)` for the payload.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modelcar.errors import InvalidDigest, InvalidDocument
from modelcar.oci import Descriptor, Digest, Manifest, compact_json, media_types, parse_object
from modelcar.oci.document import Fields
from modelcar.signing.dsse import Envelope
from modelcar.signing.encoding import decode_base64
from modelcar.signing.verified import SIGNATURE, SimpleSignature

__all__ = [
    "DSSE_ENVELOPE",
    "SIMPLE_SIGNING",
    "attestation_tag",
    "parse_attestation",
    "parse_signature",
    "signature_image",
    "signature_tag",
    "signed_digest",
    "simple_payload",
]

SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE_ENVELOPE: Final = "application/vnd.dsse.envelope.v1+json"
_TYPE: Final = "cosign container image signature"
_MAX_PAYLOAD: Final = 1 << 20  # bytes; real ones have 250
_MAX_ENVELOPE: Final = 24 << 20


def signature_tag(digest: Digest) -> str:
    """The tag under which cosign looks for signatures of `digest`."""
    return f"{digest.algorithm}-{digest.hex[:64]}.sig"


def attestation_tag(digest: Digest) -> str:
    """The tag under which cosign looks for older attestations of `digest`."""
    return f"{digest.algorithm}-{digest.hex[:64]}.att"


def simple_payload(digest: Digest, repository: str) -> bytes:
    """What gets signed, as cosign writes it. `repository` is where the image was when it was signed; for people."""
    return compact_json(
        {
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": str(digest)},
                "type": _TYPE,
            },
            "optional": None,
        }
    )


def signed_digest(payload: bytes) -> Digest:
    """The manifest that a payload is about.

    Raises:
        InvalidDocument: it is not a signature's payload, atomic ones of other programs included.
    """
    fields = Fields(parse_object(payload, "payload", limit=_MAX_PAYLOAD), "payload")
    fields.rest(frozenset({"critical", "optional"}))
    critical = fields.optional_object("critical")
    image = critical.optional_object("image") if critical else None
    if critical is None or image is None:
        raise InvalidDocument("payload.critical.image is missing")
    critical.rest(frozenset({"identity", "image", "type"}))
    image.rest(frozenset({"docker-manifest-digest"}))
    if (kind := critical.text("type")) != _TYPE:
        raise InvalidDocument(f"payload.critical.type is {kind!r}, not {_TYPE!r}")
    try:
        return Digest.parse(image.text("docker-manifest-digest"))
    except InvalidDigest as e:
        raise InvalidDocument(f"payload.critical.image.docker-manifest-digest: {e}") from None


def parse_signature(layer: Descriptor, content: bytes) -> SimpleSignature:
    """A signature from a layer of a `.sig` image.

    Raises:
        InvalidDocument: the layer is of another kind, or carries no signature.
    """
    if layer.media_type != SIMPLE_SIGNING:
        raise InvalidDocument(f"it is a {layer.media_type}, not a signature")
    if len(content) > _MAX_PAYLOAD:
        raise InvalidDocument(
            f"layer {layer.digest.short} has {len(content)} bytes, too many for a signature's payload"
        )
    encoded = layer.annotations.get(SIGNATURE)
    if not encoded:
        raise InvalidDocument(f"it lacks the annotation {SIGNATURE}")
    return SimpleSignature(
        payload=content,
        signature=decode_base64(encoded, f"annotation {SIGNATURE}"),
        annotations=layer.annotations,
    )


def parse_attestation(layer: Descriptor, raw: bytes) -> Envelope:
    """The bare DSSE envelope in a layer of a `.att` image.

    Raises:
        InvalidDocument: the layer is of another kind, malformed, or has no signature.
    """
    if layer.media_type != DSSE_ENVELOPE:
        raise InvalidDocument(f"it is a {layer.media_type}, not an attestation")
    fields = Fields(parse_object(raw, "envelope", limit=_MAX_ENVELOPE), "envelope")
    fields.rest(frozenset({"payload", "payloadType", "signatures"}))
    signatures = fields.objects("signatures")
    if not signatures:
        raise InvalidDocument("envelope.signatures is empty")
    return Envelope(
        payload=decode_base64(fields.text("payload"), "envelope.payload"),
        payload_type=fields.text("payloadType"),
        signatures=tuple(decode_base64(s.text("sig"), f"{s.path}.sig") for s in signatures),
    )


def signature_image(layers: Sequence[Descriptor]) -> tuple[Manifest, bytes]:
    """The `.sig` image over these layers, and its config's bytes."""
    config = compact_json(
        {
            "architecture": "",
            "os": "",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [str(layer.digest) for layer in layers]},
        }
    )
    return Manifest(config=Descriptor.of(media_types.CONFIG, config), layers=tuple(layers)), config
