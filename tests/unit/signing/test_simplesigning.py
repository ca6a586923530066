"""The older format: payloads, layers and images as cosign makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from modelcar.errors import InvalidDocument
from modelcar.oci import Descriptor, Digest, ImageConfig, media_types
from modelcar.signing.simplesigning import (
    DSSE_ENVELOPE,
    SIMPLE_SIGNING,
    attestation_tag,
    parse_attestation,
    parse_signature,
    signature_image,
    signature_tag,
    signed_digest,
    simple_payload,
)
from modelcar.signing.verified import SIGNATURE

DIGEST = Digest("sha256", "cd" * 32)
PAYLOAD = simple_payload(DIGEST, "registry.example/acme/llm")


def layer(content: bytes = PAYLOAD, media_type: str = SIMPLE_SIGNING, more: Mapping[str, str] = {}) -> Descriptor:
    return Descriptor.of(media_type, content, annotations={SIGNATURE: "c2ln", **more})


def test_the_payload_is_cosigns() -> None:
    assert PAYLOAD == (
        b'{"critical":{"identity":{"docker-reference":"registry.example/acme/llm"},'
        b'"image":{"docker-manifest-digest":"sha256:' + b"cd" * 32 + b'"},'
        b'"type":"cosign container image signature"},"optional":null}'
    )
    assert signed_digest(PAYLOAD) == DIGEST


def test_tags() -> None:
    assert signature_tag(DIGEST) == f"sha256-{'cd' * 32}.sig"
    assert attestation_tag(DIGEST) == f"sha256-{'cd' * 32}.att"


@pytest.mark.parametrize(
    ("path", "to", "says"),
    [
        (("critical", "type"), "atomic container signature", "type is 'atomic container signature'"),
        (("critical", "image", "docker-manifest-digest"), "sha256:ab", "docker-manifest-digest"),
        (("critical", "image", "docker-manifest-digest"), None, "docker-manifest-digest is missing"),
        (("critical", "image"), None, "image is missing"),
        (("critical", "Image"), {}, "differs from `image` only in case"),
        (("Critical",), {}, "differs from `critical` only in case"),
        (("critical",), [], "not an object"),
    ],
)
def test_payloads_of_others(path: tuple[str, ...], to: Any, says: str) -> None:
    data = json.loads(PAYLOAD)
    inner = data
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    with pytest.raises(InvalidDocument, match=says):
        signed_digest(json.dumps(data).encode())


def test_a_layer() -> None:
    found = parse_signature(layer(more={"dev.sigstore.cosign/certificate": "pem"}), PAYLOAD)
    assert (found.payload, found.signature) == (PAYLOAD, b"sig")
    assert found.annotations["dev.sigstore.cosign/certificate"] == "pem"


@pytest.mark.parametrize(
    ("descriptor", "content", "says"),
    [
        (layer(media_type=media_types.LAYER_TAR), PAYLOAD, "not a signature"),
        (Descriptor.of(SIMPLE_SIGNING, PAYLOAD), PAYLOAD, "lacks the annotation"),
        (layer(more={SIGNATURE: "%"}), PAYLOAD, "is not base64"),
        (layer(), b"x" * (1 << 20) + b"x", "too many for a signature"),
    ],
)
def test_layers_that_are_no_signatures(descriptor: Descriptor, content: bytes, says: str) -> None:
    with pytest.raises(InvalidDocument, match=says):
        parse_signature(descriptor, content)


def test_a_legacy_attestation() -> None:
    raw = json.dumps({"payloadType": "t", "payload": "e30=", "signatures": [{"keyid": "", "sig": "c2ln"}]}).encode()
    found = parse_attestation(Descriptor.of(DSSE_ENVELOPE, raw), raw)
    assert (found.payload, found.payload_type, found.signatures) == (b"{}", "t", (b"sig",))
    with pytest.raises(InvalidDocument, match="not an attestation"):
        parse_attestation(Descriptor.of(SIMPLE_SIGNING, raw), raw)
    for damaged in (raw.replace(b"c2ln", b"%%%%"), raw.replace(b'[{"keyid": "", "sig": "c2ln"}]', b"[]"), raw[:-1]):
        with pytest.raises(InvalidDocument):
            parse_attestation(Descriptor.of(DSSE_ENVELOPE, damaged), damaged)


def test_the_image_is_an_ordinary_one() -> None:
    layers = [layer(), layer(b"other")]
    manifest, config = signature_image(layers)
    assert manifest.config == Descriptor.of(media_types.CONFIG, config)
    assert manifest.is_image
    assert json.loads(config)["rootfs"] == {"type": "layers", "diff_ids": [str(d.digest) for d in layers]}
    assert [d.annotations[SIGNATURE] for d in manifest.layers] == ["c2ln", "c2ln"]
    assert ImageConfig.parse(config.replace(b'""', b'"unknown"')).diff_ids == tuple(d.digest for d in layers)
