"""Signing and verifying by identity on the command line, against a Sigstore on a loopback port."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoints import make_checkpoint
from tests.support.sigstore import Sigstore, serve_sigstore, trusted_root
from tests.support.sigstore.instance import EMAIL, ISSUER
from tests.unit.cli.conftest import ModelcarCli, Refusal

pytestmark = pytest.mark.slow

REF = "registry.example/acme/tiny:v1"
WHO = ("--certificate-identity", EMAIL, "--certificate-oidc-issuer", ISSUER)
ROOT = ("--trusted-root", "root.json")
KEYLESS = ("--keyless", "--trust-config", "config.json", "--identity-token", "token")
Run = Callable[..., Any]


@pytest.fixture
def sigstore(tmp_path: Path) -> Iterator[Sigstore]:
    """Its trust config, trusted root and an identity token lie in the current folder."""
    with serve_sigstore(Sigstore()) as sigstore:
        (tmp_path / "config.json").write_text(sigstore.trust_config())
        (tmp_path / "root.json").write_text(trusted_root(sigstore))
        (tmp_path / "token").write_text(sigstore.token())
        yield sigstore


@pytest.fixture
def run(modelcar: ModelcarCli, sigstore: Sigstore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COSIGN_PASSWORD", "secret")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.chdir(tmp_path)

    return modelcar.json


@pytest.fixture
def image(run: Run, tmp_path: Path) -> str:
    digest: str = run("build", str(make_checkpoint(tmp_path / "checkpoint")), "-t", REF)["digest"]
    return digest


def test_requests_of_the_library_are_told_of(modelcar: ModelcarCli, image: str, tmp_path: Path) -> None:
    status, _, err = modelcar.run("sign", REF, *KEYLESS, "-v")
    assert status == 0, err
    token = (tmp_path / "token").read_text()
    for path in ("/api/v2/signingCert", "/api/v1/log/entries"):
        assert re.search(rf"^modelcar: POST http://127\.0\.0\.1:\d+{path} status=20\d$", err, re.MULTILINE), err
    assert [part for part in token.split(".") if part in err] == []


def test_sign_and_verify(run: Run, image: str) -> None:
    signed = run("sign", REF, *KEYLESS)
    assert signed["signer"] == f"{EMAIL} ({ISSUER})"
    assert {s["format"] for s in signed["signatures"]} == {"bundle"}
    for trust in (ROOT, ("--trust-config", "config.json")):
        (verified,) = run("verify", REF, *WHO, *trust)["verified"]
        assert verified["signer"] == {"fingerprint": None, "identity": EMAIL, "issuer": ISSUER}
        assert verified["signedAt"]
    again = run("sign", REF, *KEYLESS)["signatures"]
    assert not any(s["new"] for s in again)


def test_a_root_of_trust_travels_and_is_not_believed_for_it(
    run: Run, refusal: Refusal, image: str, tmp_path: Path
) -> None:
    """`tar` takes it out of the archive, byte for byte, and `inspect` shows the digest to compare."""
    run("sign", REF, *KEYLESS)
    root = Path("root.json").read_bytes()
    digest = f"sha256:{hashlib.sha256(root).hexdigest()}"
    assert run("archive", REF, "-o", "a.tar", *ROOT)["trust"] == {"keys": [], "trustedRoot": digest}
    assert run("inspect", "oci-archive:a.tar")["trust"]["trustedRoot"] == digest
    with tarfile.open("a.tar") as tar:
        carried = tar.extractfile(".modelcar/trust/trusted_root.json")
        assert carried is not None
        assert carried.read() == root
    (verified,) = run("verify", "oci-archive:a.tar", *WHO, *ROOT)["verified"]
    assert verified["signer"]["identity"] == EMAIL
    Path("other.json").write_text(trusted_root(Sigstore()))
    assert refusal(1, "verify", "oci-archive:a.tar", *WHO, "--trusted-root", "other.json")


def test_who_else_signed_does_not_count(run: Run, refusal: Refusal, image: str, sigstore: Sigstore) -> None:
    Path("token").write_text(sigstore.token(sub="mallory@acme.example.evil.org"))
    run("sign", REF, *KEYLESS)
    complaint = refusal(1, "verify", REF, *WHO, *ROOT)
    assert "mallory@acme.example.evil.org" in complaint
    pattern = ("--certificate-identity-regexp", r".*@acme\.example", "--certificate-oidc-issuer", ISSUER)
    assert "mallory" in refusal(1, "verify", REF, *pattern, *ROOT)
    wrong_issuer = ("--certificate-identity-regexp", ".*", "--certificate-oidc-issuer", "https://other.example")
    assert ISSUER in refusal(1, "verify", REF, *wrong_issuer, *ROOT)


def test_another_root_of_trust(run: Run, refusal: Refusal, image: str) -> None:
    run("sign", REF, *KEYLESS)
    Path("root.json").write_text(trusted_root(Sigstore()))
    assert "not valid" in refusal(1, "verify", REF, *WHO, *ROOT)


def test_attest_keyless(run: Run, refusal: Refusal, image: str) -> None:
    run("attest", REF, "--type", "provenance", *KEYLESS)
    (verified,) = run("verify", REF, *WHO, *ROOT, "--attestation", "provenance")["verified"]
    assert verified["signer"]["identity"] == EMAIL
    assert "has no signature" in refusal(1, "verify", REF, *WHO, *ROOT)


def test_a_model_signing_manifest_by_an_identity(run: Run, refusal: Refusal, image: str) -> None:
    run("attest", REF, "--type", "oms", *KEYLESS)
    assert "did not sign that it holds them" in refusal(1, "verify", REF, *WHO, *ROOT, "--attestation", "oms")
    run("sign", REF, *KEYLESS)
    (verified,) = run("verify", REF, *WHO, *ROOT, "--attestation", "oms")["verified"]
    assert verified["signer"]["identity"] == EMAIL


def test_build_signs_in_the_same_breath(run: Run, sigstore: Sigstore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", sigstore.token())
    folder = str(make_checkpoint(Path("checkpoint")))
    run("build", folder, "-t", REF, "--sign-keyless", "--trust-config", "config.json")
    run("verify", REF, *WHO, *ROOT)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--certificate-identity", EMAIL), "needs its issuer"),
        (("--certificate-oidc-issuer", ISSUER), "needs its subject"),
        ((*WHO, "--certificate-identity-regexp", ".*"), "needs its subject either"),
        ((*WHO, "--key", "x.pub"), "either a key or an identity"),
        ((*WHO, *ROOT, "--trust-config", "config.json"), "not both"),
        ((*WHO, "--trusted-root", "token"), "not a trusted root"),
        (ROOT, "nothing says whose signature is wanted"),
    ],
)
def test_half_a_question_is_none(refusal: Refusal, image: str, arguments: tuple[str, ...], complaint: str) -> None:
    assert complaint in refusal(2, "verify", REF, *arguments)


def test_a_key_and_an_identity_do_not_sign_together(refusal: Refusal, image: str) -> None:
    assert "not both" in refusal(2, "sign", REF, "--key", "x.key", *KEYLESS)
    assert "bundles only" in refusal(2, "sign", REF, "--format", "legacy", *KEYLESS)
