"""Sigstore bundles, v0.1 to v0.3.

Source: sigstore/protobuf-specs (`sigstore_bundle.proto`) in protobuf's JSON mapping; cosign's bundle specification.
"""

from __future__ import annotations

from typing import Any, Final

from modelcar.errors import InvalidDocument
from modelcar.oci import compact_json, parse_object
from modelcar.oci.document import Fields
from modelcar.signing.dsse import IN_TOTO, Envelope
from modelcar.signing.encoding import decode_base64, encode_base64
from modelcar.signing.verified import Bundle

__all__ = ["BUNDLE", "MAX_BUNDLE", "is_bundle_type", "key_bundle", "parse_bundle"]

BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_BUNDLE: Final = 24 << 20  # bytes; the largest statement, base64, and room for its material
_PREFIX: Final = "application/vnd.dev.sigstore.bundle"
_VERSIONS: Final = frozenset({BUNDLE, *(f"{_PREFIX}+json;version=0.{minor}" for minor in (1, 2, 3))})

# The messages that a bundle consists of: field to the message it holds, `None` where that is a plain value. protojson
# refuses what is not listed, so a bundle with more would be valid here and nowhere else.
_Message = dict[str, Any]
_CERTIFICATE: Final[_Message] = {"rawBytes": None}
_LOG_ENTRY: Final[_Message] = {
    "logIndex": None,
    "logId": {"keyId": None},
    "kindVersion": {"kind": None, "version": None},
    "integratedTime": None,
    "inclusionPromise": {"signedEntryTimestamp": None},
    "inclusionProof": {
        "logIndex": None,
        "rootHash": None,
        "treeSize": None,
        "hashes": None,
        "checkpoint": {"envelope": None},
    },
    "canonicalizedBody": None,
}
_SCHEMA: Final[_Message] = {
    "mediaType": None,
    "verificationMaterial": {
        "publicKey": {"hint": None},
        "x509CertificateChain": {"certificates": _CERTIFICATE},
        "certificate": _CERTIFICATE,
        "tlogEntries": _LOG_ENTRY,
        "timestampVerificationData": {"rfc3161Timestamps": {"signedTimestamp": None}},
    },
    "messageSignature": {"messageDigest": {"algorithm": None, "digest": None}, "signature": None},
    "dsseEnvelope": {"payload": None, "payloadType": None, "signatures": {"sig": None, "keyid": None}},
}


def is_bundle_type(media_type: str) -> bool:
    """Whether a layer or artifact type is that of a bundle, of whatever version."""
    return media_type.startswith(_PREFIX)


def key_bundle(payload: bytes, signature: bytes, hint: str) -> Bundle:
    """The bundle that cosign writes for a signature by a key, byte for byte.

    Args:
        payload: an in-toto statement.
        hint: names the key; see `PublicKey.hint`.
    """
    raw = compact_json(
        {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": hint}},
            "dsseEnvelope": {
                "payload": encode_base64(payload),
                "payloadType": IN_TOTO,
                "signatures": [{"sig": encode_base64(signature)}],
            },
        }
    )
    envelope = Envelope(payload=payload, payload_type=IN_TOTO, signatures=(signature,))
    return Bundle(raw=raw, envelope=envelope, key_hint=hint)


def parse_bundle(raw: bytes) -> Bundle:
    """Parse a bundle strictly; whether anything in it is true is another question.

    Raises:
        InvalidDocument: it is malformed, holds an unknown field, or signs bare bytes and not a statement.
    """
    data = parse_object(raw, "bundle", limit=MAX_BUNDLE)
    _refuse_unknown(data, _SCHEMA, "bundle")
    fields = Fields(data, "bundle")
    if (media_type := fields.text("mediaType")) not in _VERSIONS:
        raise InvalidDocument(f"bundle.mediaType is {media_type!r}; v0.1 to v0.3 are understood")
    material, envelope = fields.optional_object("verificationMaterial"), fields.optional_object("dsseEnvelope")
    if material is None:
        raise InvalidDocument("bundle.verificationMaterial is missing")
    if envelope is None or fields.has("messageSignature"):
        raise InvalidDocument("bundle.dsseEnvelope is missing or not alone: the bundle makes no statement")
    hint, certificate = _material(material, media_type)
    return Bundle(raw=raw, envelope=_envelope(envelope), key_hint=hint, certificate=certificate)


def _material(material: Fields, media_type: str) -> tuple[str | None, bytes | None]:
    """The key's hint, or the leaf certificate's DER; exactly one kind of material is allowed."""
    kinds = [kind for kind in ("publicKey", "x509CertificateChain", "certificate") if material.has(kind)]
    if len(kinds) != 1:
        raise InvalidDocument(f"{material.path} holds {' and '.join(kinds) or 'neither a key nor a certificate'}")
    inner = material.optional_object(kinds[0])
    assert inner is not None  # noqa: S101  # `has` said so; this is for the type checker
    if kinds[0] == "publicKey":
        return inner.optional_text("hint") or "", None
    if kinds[0] == "x509CertificateChain":
        if media_type == BUNDLE:
            raise InvalidDocument(f"{material.path}: a chain of certificates is not allowed in v0.3")
        chain = inner.objects("certificates")
        if not chain:
            raise InvalidDocument(f"{inner.path}.certificates is empty")
        inner = chain[0]
    return None, decode_base64(inner.text("rawBytes"), f"{inner.path}.rawBytes")


def _envelope(fields: Fields) -> Envelope:
    signatures = fields.objects("signatures")
    if len(signatures) != 1:
        raise InvalidDocument(f"{fields.path}.signatures has {len(signatures)} entries where one is allowed")
    return Envelope(
        payload=decode_base64(fields.text("payload"), f"{fields.path}.payload"),
        payload_type=fields.text("payloadType"),
        signatures=(decode_base64(signatures[0].text("sig"), f"{signatures[0].path}.sig"),),
    )


def _refuse_unknown(value: Any, message: _Message, path: str) -> None:
    if isinstance(value, list):
        for i, item in enumerate(value):
            _refuse_unknown(item, message, f"{path}[{i}]")
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in message:
                raise InvalidDocument(f"{path}.{name} is not a field of a bundle")
            if message[name] is not None:
                _refuse_unknown(inner, message[name], f"{path}.{name}")
