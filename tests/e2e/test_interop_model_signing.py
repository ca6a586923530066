"""What we sign over a model, OpenSSF's model_signing verifies over the pulled folder, and notices one changed bit."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.support.commands import Done, Modelcar
from tests.e2e.support.model_signing import ModelSigning, model_signing
from tests.support.checkpoints import make_checkpoint
from tests.support.sigstore import Sigstore, serve_sigstore
from tests.support.sigstore.instance import EMAIL, ISSUER

REF = "registry.example/acme/{}:v1"


@pytest.fixture(scope="module")
def verifier() -> ModelSigning:
    return model_signing()


@pytest.fixture(scope="module")
def signer(workspace: Path) -> Modelcar:
    modelcar = Modelcar(workspace / "oms-home")
    modelcar.environment["COSIGN_PASSWORD"] = ""
    return modelcar


@pytest.fixture(scope="module")
def sigstore(workspace: Path) -> Iterator[Sigstore]:
    with serve_sigstore(Sigstore()) as sigstore:
        (workspace / "trust.json").write_text(sigstore.trust_config())
        yield sigstore


def signed(modelcar: Modelcar, folder: Path, name: str, *how: str | Path, build: tuple[str, ...] = ()) -> Path:
    """A folder with the files of an image of `folder`; the bundle over them is `model.sig` beside it."""
    ref, out = REF.format(name), folder.parent / f"{name}-out"
    modelcar("build", folder, "-t", ref, *build)
    modelcar("attest", ref, "--type", "oms", "--bundle", out.with_suffix(".sig"), *how)
    modelcar("export", ref, "-o", out.with_suffix(".layout"))
    modelcar("pull", f"oci:{out.with_suffix('.layout')}", "-o", out)
    return out


@pytest.mark.parametrize("method", ["shards", "files"])
def test_model_signing_accepts_ours_and_notices_a_bit(
    signer: Modelcar, verifier: ModelSigning, tmp_path: Path, method: str
) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint", shards=2, elements=5 << 20)
    (folder / ".gitattributes").write_text("* -text\n")
    signer("keygen", "-o", tmp_path / "key")
    build = ("--content-digest",) if method == "files" else ()
    out = signed(signer, folder, method, "--key", tmp_path / "key.key", build=build)
    signature = out.with_suffix(".sig")
    payload = json.loads(base64.b64decode(json.loads(signature.read_bytes())["dsseEnvelope"]["payload"]))
    assert payload["predicate"]["serialization"]["method"] == method

    def verify(key: str = "key.pub", *, check: bool = False) -> Done:
        if method == "shards":
            return verifier.verify_by_library(out, signature, tmp_path / key, check=check)
        arguments = ("--signature", signature, "--public_key", tmp_path / key)
        return verifier("verify", "key", out, *arguments, check=check)

    verify(check=True)
    weights = out / "model-00002-of-00002.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert f"Hash mismatch for '{weights.name}" in verify().stderr
    weights.write_bytes(content)
    (out / "more.txt").write_text("x")
    assert "more.txt" in verify().stderr
    (out / "more.txt").unlink()
    verify(check=True)
    signer("keygen", "-o", tmp_path / "other")
    assert "Key mismatch" in verify("other.pub").stderr


def test_model_signing_accepts_an_identity(
    signer: Modelcar, verifier: ModelSigning, sigstore: Sigstore, workspace: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(sigstore.token())
    config = workspace / "trust.json"
    how = ("--keyless", "--trust-config", config, "--identity-token", tmp_path / "token")
    out = signed(signer, make_checkpoint(tmp_path / "checkpoint"), "keyless", *how)
    arguments = ("verify", "sigstore", out, "--signature", out.with_suffix(".sig"), "--trust_config", config)
    verifier(*arguments, "--identity", EMAIL, "--identity_provider", ISSUER)
    someone = verifier(*arguments, "--identity", "x@acme.example", "--identity_provider", ISSUER, check=False)
    assert someone.returncode != 0
