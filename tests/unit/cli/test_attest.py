"""`modelcar attest` and what `modelcar verify --attestation` makes of it, on the local store."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from modelcar.signing.dsse import pre_authentication_encoding
from tests.support.checkpoints import make_checkpoint
from tests.unit.cli.conftest import ModelcarCli, Refusal

REF = "registry.example/acme/tiny:v1"
Run = Callable[..., Any]


@pytest.fixture
def run(modelcar: ModelcarCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a verb that must work, in a folder with an image and two keys; returns its JSON answer."""
    monkeypatch.setenv("COSIGN_PASSWORD", "secret")
    for name in ("GITHUB_ACTIONS", "GITLAB_CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    modelcar("build", str(make_checkpoint(tmp_path / "checkpoint")), "-t", REF)
    modelcar("keygen", "-o", "image")
    modelcar("keygen", "-o", "attest")
    return modelcar.json


@pytest.mark.parametrize("kind", ["provenance", "mlbom"])
def test_what_is_attested_verifies_for_its_type_only(run: Run, refusal: Refusal, kind: str) -> None:
    attested = run("attest", REF, "--type", kind, "--key", "attest.key")
    verified = run("verify", REF, "--key", "attest.pub", "--attestation", kind)
    assert verified["digest"] == attested["digest"]
    assert [v["predicate"] for v in verified["verified"]] == [attested["predicate"]]
    other = {"provenance": "mlbom", "mlbom": "provenance"}[kind]
    assert "has no attestation" in refusal(1, "verify", REF, "--key", "attest.pub", "--attestation", other)
    assert "has no attestation" in refusal(1, "verify", REF, "--key", "image.pub", "--attestation", kind)
    assert "has no signature" in refusal(1, "verify", REF, "--key", "attest.pub")


def test_a_dry_run_signs_nothing_and_needs_no_key(run: Run, refusal: Refusal) -> None:
    predicate = run("attest", REF, "--type", "provenance", "--dry-run")
    assert predicate["buildDefinition"]["externalParameters"]["image"]["name"] == "registry.example/acme/tiny"
    assert "nothing is attached" in refusal(1, "verify", REF, "--key", "attest.pub", "--attestation", "provenance")
    assert "nothing says who signs" in refusal(2, "attest", REF, "--type", "provenance")


def test_a_predicate_of_ones_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "review.json").write_text('{"verdict": "good", "by": ["a", "b"]}')
    uri = "https://acme.example/review/v1"
    run("attest", REF, "--type", uri, "--predicate", "review.json", "--key", "attest.key")
    (verified,) = run("verify", REF, "--key", "attest.pub", "--attestation", uri)["verified"]
    assert verified["predicate"] == {"verdict": "good", "by": ["a", "b"]}


def test_the_image_s_own_key_does_not_attest_by_accident(run: Run, refusal: Refusal) -> None:
    run("sign", REF, "--key", "image.key")
    complaint = refusal(2, "attest", REF, "--type", "mlbom", "--key", "image.key")
    assert "has signed this image" in complaint
    assert "--allow-same-signer" in complaint
    run("attest", REF, "--type", "mlbom", "--key", "attest.key")
    run("attest", REF, "--type", "mlbom", "--key", "image.key", "--allow-same-signer")


def test_a_lone_legacy_signature_is_not_hidden_by_accident(run: Run, refusal: Refusal) -> None:
    run("sign", REF, "--key", "image.key", "--format", "legacy")
    assert "only a legacy signature" in refusal(2, "attest", REF, "--type", "mlbom", "--key", "attest.key")
    run("sign", REF, "--key", "image.key")
    run("attest", REF, "--type", "mlbom", "--key", "attest.key")


def test_every_manifest_where_that_is_wanted(run: Run) -> None:
    alone = run("attest", REF, "--type", "mlbom", "--key", "attest.key")
    assert [a["subject"] for a in alone["attached"]] == [alone["digest"]]
    all_of_them = run("attest", REF, "--type", "mlbom", "--key", "attest.key", "--recursive")["attached"]
    manifests = {m["digest"] for m in run("inspect", REF)["manifests"]}
    assert {a["subject"] for a in all_of_them} == {*manifests, alone["digest"]}


@pytest.mark.parametrize("kind", ["provenance", "oms"])
def test_attesting_the_same_again_adds_nothing(run: Run, kind: str) -> None:
    first = run("attest", REF, "--type", kind, "--key", "attest.key", "--bundle", "a.sig")
    again = run("attest", REF, "--type", kind, "--key", "attest.key", "--bundle", "b.sig")
    assert first["attached"][0]["referrer"] is not None
    assert again["attached"][0]["referrer"] is None
    assert Path("a.sig").read_bytes() == Path("b.sig").read_bytes()
    other = run("attest", REF, "--type", kind, "--key", "image.key")
    assert other["attached"][0]["referrer"] is not None


def test_a_model_signing_manifest_names_its_key_in_its_own_way(run: Run, tmp_path: Path) -> None:
    run("attest", REF, "--type", "oms", "--key", "attest.key", "--bundle", "model.sig")
    bundle = json.loads((tmp_path / "model.sig").read_bytes())
    key = load_pem_public_key((tmp_path / "attest.pub").read_bytes())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert bundle["verificationMaterial"] == {"publicKey": {"hint": hashlib.sha256(pem).hexdigest()}}
    envelope = bundle["dsseEnvelope"]
    signed = pre_authentication_encoding(envelope["payloadType"], base64.b64decode(envelope["payload"]))
    key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, ec.ECDSA(SHA256()))


def test_a_model_signing_manifest_holds_for_the_same_files_only(run: Run, refusal: Refusal, tmp_path: Path) -> None:
    run("attest", REF, "--type", "oms", "--key", "attest.key")
    unsigned = refusal(1, "verify", REF, "--key", "attest.pub", "--key", "image.pub", "--attestation", "oms")
    assert "did not sign that it holds them" in unsigned
    run("sign", REF, "--key", "image.key")
    assert "name the key that signed the image" in refusal(
        1, "verify", REF, "--key", "attest.pub", "--attestation", "oms"
    )
    both = run("verify", REF, "--key", "attest.pub", "--key", "image.pub", "--attestation", "oms")
    (verified,) = both["verified"]
    assert verified["predicateType"] == "https://model_signing/signature/v1.0"
    assert "has no model signing manifest" in refusal(1, "verify", REF, "--key", "image.pub", "--attestation", "oms")
    other = make_checkpoint(tmp_path / "other", seed="other")
    run("build", str(other), "-t", "registry.example/acme/other:v1")
    unattested = refusal(1, "verify", "registry.example/acme/other:v1", "--key", "attest.pub", "--attestation", "oms")
    assert "nothing is attached" in unattested


def test_what_cannot_be_attested(run: Run, refusal: Refusal, tmp_path: Path) -> None:
    key = ("--key", "attest.key")
    assert "cannot be made from the image" in refusal(2, "attest", REF, "--type", "vuln", *key)
    assert "not a predicate type" in refusal(2, "attest", REF, "--type", "provenence", *key)
    (tmp_path / "list.json").write_text("[]")
    assert "not a JSON object" in refusal(2, "attest", REF, "--type", "vuln", "--predicate", "list.json", *key)
    assert "made from the image" in refusal(2, "attest", REF, "--type", "oms", "--predicate", "list.json", *key)
