"""Bundles: the bytes that cosign writes, and what a strict reader refuses."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from modelcar.errors import InvalidDocument
from modelcar.oci import Digest
from modelcar.signing.bundle import BUNDLE, MAX_BUNDLE, is_bundle_type, key_bundle, parse_bundle
from modelcar.signing.dsse import IN_TOTO
from modelcar.signing.signatory import KeySignatory
from modelcar.signing.statement import COSIGN_SIGN, Statement
from tests.support.signing import KEY, tamper

DIGEST = Digest("sha256", "ab" * 32)
Change = Callable[[Any], None]


def put(*path: str | int, to: Any) -> Change:
    def change(data: Any) -> None:
        for name in path[:-1]:
            data = data[name]
        data[path[-1]] = to

    return change


def drop(*path: str) -> Change:
    def change(data: Any) -> None:
        for name in path[:-1]:
            data = data[name]
        del data[path[-1]]

    return change


@pytest.fixture(scope="module")
def raw() -> bytes:
    return KeySignatory(KEY).sign_statement(Statement.about(DIGEST, COSIGN_SIGN)).raw


def keyless(certificate: Any, media_type: str = BUNDLE, kind: str = "certificate") -> bytes:
    data = json.loads(key_bundle(b"{}", b"sig", "").raw)
    data["mediaType"] = media_type
    data["verificationMaterial"] = {
        kind: certificate,
        "tlogEntries": [
            {
                "logIndex": "1",
                "logId": {"keyId": "AA=="},
                "kindVersion": {"kind": "dsse", "version": "0.0.1"},
                "integratedTime": "1740770291",
                "inclusionPromise": {"signedEntryTimestamp": "AA=="},
                "inclusionProof": {
                    "logIndex": "1", "rootHash": "AA==", "treeSize": "2", "hashes": [], "checkpoint": {"envelope": "x"},
                },
                "canonicalizedBody": "AA==",
            }
        ],
        "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": "AA=="}]},
    }  # fmt: skip
    return json.dumps(data).encode()


def test_the_bytes_are_cosigns() -> None:
    """Compact, in this order, with nothing else: the reference page's example."""
    bundle = key_bundle(b"payload", b"signature", "hint=")
    assert bundle.raw == (
        b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",'
        b'"verificationMaterial":{"publicKey":{"hint":"hint="}},'
        b'"dsseEnvelope":{"payload":"cGF5bG9hZA==","payloadType":"application/vnd.in-toto+json",'
        b'"signatures":[{"sig":"c2lnbmF0dXJl"}]}}'
    )


def test_the_statement_is_cosigns() -> None:
    assert Statement.about(DIGEST, COSIGN_SIGN).to_bytes() == (
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"' + b"ab" * 32 + b'"}}],'
        b'"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}'
    )


def test_parsing_gives_back_what_was_signed(raw: bytes) -> None:
    bundle = parse_bundle(raw)
    assert bundle.raw == raw
    assert bundle.key_hint == KEY.public.hint
    assert bundle.certificate is None
    assert bundle.envelope.payload_type == IN_TOTO
    assert Statement.parse(bundle.envelope.payload).is_about(DIGEST)
    KEY.public.verify(bundle.envelope.signatures[0], bundle.envelope.signed)


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
def test_older_media_types(raw: bytes, version: str) -> None:
    media_type = f"application/vnd.dev.sigstore.bundle+json;version={version}"
    assert is_bundle_type(media_type)
    assert parse_bundle(tamper(raw, put("mediaType", to=media_type))).envelope == parse_bundle(raw).envelope


def test_both_base64_alphabets_as_protojson_reads_them(raw: bytes) -> None:
    payload = b'{"x":"\xc3\xbf\xc3\xbe??>>"}'
    for encoded in (
        base64.b64encode(payload),
        base64.urlsafe_b64encode(payload),
        base64.b64encode(payload).rstrip(b"="),
    ):
        changed = tamper(raw, put("dsseEnvelope", "payload", to=encoded.decode()))
        assert parse_bundle(changed).envelope.payload == payload


def test_keyless_material_is_kept_for_whoever_understands_it() -> None:
    found = parse_bundle(keyless({"rawBytes": "Y2VydA=="}))
    assert (found.certificate, found.key_hint) == (b"cert", None)
    chain = {"certificates": [{"rawBytes": "bGVhZg=="}, {"rawBytes": "cm9vdA=="}]}
    older = keyless(chain, f"{BUNDLE.replace('.v0.3+json', '+json')};version=0.2", "x509CertificateChain")
    assert parse_bundle(older).certificate == b"leaf"
    with pytest.raises(InvalidDocument, match=r"not allowed in v0\.3"):
        parse_bundle(keyless(chain, kind="x509CertificateChain"))
    with pytest.raises(InvalidDocument, match="certificates is empty"):
        parse_bundle(keyless({"certificates": []}, older_type(), "x509CertificateChain"))


def older_type() -> str:
    return "application/vnd.dev.sigstore.bundle+json;version=0.1"


MALFORMED: list[tuple[Change, str]] = [
    (put("extra", to=1), r"bundle\.extra is not a field"),
    (put("media_type", to=BUNDLE), r"bundle\.media_type is not a field"),
    (put("verificationMaterial", "extra", to=1), r"verificationMaterial\.extra is not a field"),
    (put("verificationMaterial", "publicKey", "rawBytes", to=""), r"publicKey\.rawBytes is not a field"),
    (put("dsseEnvelope", "extra", to=1), r"dsseEnvelope\.extra is not a field"),
    (put("dsseEnvelope", "signatures", 0, "extra", to=1), r"signatures\[0\]\.extra is not a field"),
    (put("mediaType", to="application/json"), "v0.1 to v0.3 are understood"),
    (put("mediaType", to=BUNDLE.replace("0.3", "0.4")), "v0.1 to v0.3 are understood"),
    (drop("mediaType"), "mediaType is missing"),
    (drop("verificationMaterial"), "verificationMaterial is missing"),
    (drop("verificationMaterial", "publicKey"), "neither a key nor a certificate"),
    (put("verificationMaterial", "certificate", to={"rawBytes": "AA=="}), "holds publicKey and certificate"),
    (drop("dsseEnvelope"), "makes no statement"),
    (put("messageSignature", to={"signature": "AA=="}), "makes no statement"),
    (put("dsseEnvelope", to=[]), "dsseEnvelope is not an object"),
    (drop("dsseEnvelope", "payload"), "payload is missing"),
    (put("dsseEnvelope", "payload", to="%%%"), "payload is not base64"),
    (put("dsseEnvelope", "payload", to="AAAAA"), "payload is not base64"),
    (drop("dsseEnvelope", "payloadType"), "payloadType is missing"),
    (put("dsseEnvelope", "signatures", to=[]), "signatures has 0 entries"),
    (put("dsseEnvelope", "signatures", to=[{"sig": "AA=="}] * 2), "signatures has 2 entries"),
    (put("dsseEnvelope", "signatures", 0, "sig", to=""), "sig is missing"),
    (put("dsseEnvelope", "signatures", 0, "sig", to="A A="), "sig is not base64"),
]


@pytest.mark.parametrize(("change", "says"), MALFORMED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_protojson_would_refuse(raw: bytes, change: Change, says: str) -> None:
    with pytest.raises(InvalidDocument, match=says):
        parse_bundle(tamper(raw, change))


def test_unknown_fields_deep_in_keyless_material() -> None:
    data = json.loads(keyless({"rawBytes": "AA=="}))
    data["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["checkpoint"]["extra"] = 1
    with pytest.raises(InvalidDocument, match=r"tlogEntries\[0\]\.inclusionProof\.checkpoint\.extra"):
        parse_bundle(json.dumps(data).encode())


def test_a_name_twice_and_a_bundle_beyond_all_bounds(raw: bytes) -> None:
    with pytest.raises(InvalidDocument, match="twice"):
        parse_bundle(raw.replace(b"{", b'{"mediaType":"x",', 1))
    with pytest.raises(InvalidDocument, match="more than the"):
        parse_bundle(raw + b" " * MAX_BUNDLE)
    with pytest.raises(InvalidDocument, match="nested too deeply"):
        parse_bundle(b'{"mediaType":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
