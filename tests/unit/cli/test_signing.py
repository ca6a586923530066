"""keygen, sign, verify, and what else the command line does with signatures; run in this process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from modelcar.cli import main
from modelcar.images.local import look_up
from modelcar.oci import Index, Reference
from modelcar.store import LocalStore
from registry_shim.testing import running_registry
from tests.support.checkpoints import make_checkpoint
from tests.support.signing import KEY

NAME = "registry.example/acme/tiny:v1"
SCAN = "https://example.com/scan"
Run = Callable[..., Any]
Refusal = Callable[..., str]


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with running_registry() as address:
        yield address


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that succeeds; returns its JSON answer. The current folder is the test's own."""
    monkeypatch.setenv("MODELCAR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COSIGN_PASSWORD", "secret")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Any:
        status = main([*map(str, arguments), "--json"])
        answer = capsys.readouterr()
        assert status == 0, answer.err
        return json.loads(answer.out)

    return run


@pytest.fixture
def refused(run: Run, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Run a command that says no (exit status 1, or the one given); returns its complaint."""

    def refused(*arguments: object, status: int = 1) -> str:
        assert main([*map(str, arguments), "--json"]) == status
        answer = capsys.readouterr()
        assert answer.out == ""
        assert "Traceback" not in answer.err
        return answer.err

    return refused


@pytest.fixture
def image(run: Run, tmp_path: Path) -> str:
    """A small image in the local store, unsigned, and two key pairs in the current folder."""
    make_checkpoint(tmp_path / "model")
    run("keygen", "-o", "ci")
    run("keygen", "-o", "other")
    digest = run("build", "model", "-t", NAME)["digest"]
    assert isinstance(digest, str)
    return digest


# keygen


def test_a_new_pair(run: Run, refused: Refusal, tmp_path: Path) -> None:
    made = run("keygen")
    assert made["fingerprint"].startswith("sha256:")
    assert (tmp_path / "modelcar.key").stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED SIGSTORE PRIVATE KEY" in (tmp_path / "modelcar.key").read_bytes()
    before = (tmp_path / "modelcar.key").read_bytes()
    assert "never overwritten" in refused("keygen", status=2)
    assert (tmp_path / "modelcar.key").read_bytes() == before


def test_a_public_key_in_the_way_leaves_no_private_one(run: Run, refused: Refusal, tmp_path: Path) -> None:
    (tmp_path / "a.pub").write_text("precious")
    refused("keygen", "-o", "a", status=2)
    assert [p.name for p in tmp_path.iterdir()] == ["a.pub"]


def test_openssls_form(run: Run, tmp_path: Path) -> None:
    run("keygen", "-o", "a", "--format", "pkcs8")
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in (tmp_path / "a.key").read_bytes()


def test_no_terminal_and_no_password(run: Run, refused: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COSIGN_PASSWORD")
    assert "set COSIGN_PASSWORD" in refused("keygen", status=2)


def test_a_password_from_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, image: str) -> None:
    """Asked for once to sign, twice for a new key, never shown."""
    monkeypatch.delenv("COSIGN_PASSWORD")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    asked: list[dict[str, Any]] = []

    def prompt(text: str, **options: Any) -> str:
        asked.append({"text": text, **options})
        return "secret"

    monkeypatch.setattr(click, "prompt", prompt)
    run("sign", NAME, "--key", "ci.key")
    run("keygen", "-o", "third")
    assert [(a["hide_input"], a["confirmation_prompt"]) for a in asked] == [(True, False), (True, True)]


def test_no_command_takes_a_password(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("keygen", "sign", "verify", "build"):
        main([verb, "--help"])
        assert "--password" not in capsys.readouterr().out


# sign and verify


def test_in_the_local_store(run: Run, refused: Refusal, image: str) -> None:
    assert "nothing is attached to it" in refused("verify", NAME, "--key", "ci.pub")
    signed = run("sign", NAME, "--key", "ci.key")
    assert (signed["digest"], signed["where"], len(signed["signatures"])) == (image, "local", 8)
    assert all(s["new"] for s in signed["signatures"])
    again = run("sign", NAME, "--key", "ci.key")
    assert not any(s["new"] for s in again["signatures"])
    (verified,) = run("verify", NAME, "--key", "ci.pub")["verified"]
    assert (
        verified["signer"]["fingerprint"]
        == run("verify", NAME, "--key", "ci.key")["verified"][0]["signer"]["fingerprint"]
    )
    complaint = refused("verify", NAME, "--key", "other.pub")
    assert f"{image} has no signature by key sha256:" in complaint
    assert "- bundle 1" in complaint
    assert "- legacy signature 1" in complaint
    assert run("verify", NAME, "--key", "other.pub", "--key", "ci.pub")["digest"] == image


def test_by_digest(run: Run, refused: Refusal, image: str) -> None:
    run("sign", NAME, "--key", "ci.key")
    pinned = f"registry.example/acme/tiny@{image}"
    assert run("verify", pinned, "--key", "ci.pub")["digest"] == image


def test_another_digest_is_not_found_under_the_same_tag(run: Run, image: str, tmp_path: Path) -> None:
    """Or `verify repo:v1@sha256:…` would speak about an image that was not asked for."""
    store = LocalStore(tmp_path / "home")
    other = f"sha256:{'0' * 64}"
    found = [look_up(store, Reference.parse(f"{name}@{digest}"))
             for name in (NAME, "registry.example/acme/tiny") for digest in (image, other)]  # fmt: skip
    assert [str(d.digest) if d else None for d in found] == [image, None, image, None]
    for elsewhere in ("registry.example/acme/tiny:v2", "registry.example/other/tiny:v1", "other.example/acme/tiny:v1"):
        assert look_up(store, Reference.parse(elsewhere)) is None


def test_a_signature_is_no_attestation(run: Run, refused: Refusal, image: str) -> None:
    run("sign", NAME, "--key", "ci.key")
    assert "has no attestation of type" in refused("verify", NAME, "--key", "ci.pub", "--attestation", SCAN)


def test_nobody_named(refused: Refusal, image: str) -> None:
    assert "hint: " in refused("sign", NAME, status=2)
    assert "hint: " in refused("verify", NAME, status=2)


def test_keys_in_the_wrong_place(refused: Refusal, image: str) -> None:
    assert "ci.pub is a public key; signing needs the private one" in refused("sign", NAME, "--key", "ci.pub", status=2)
    assert "absent.pub" in refused("verify", NAME, "--key", "absent.pub", status=2)
    assert "awskms://" in refused("verify", NAME, "--key", "awskms:///alias/x", status=2)


def test_the_wrong_password(refused: Refusal, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "wrong")
    complaint = refused("sign", NAME, "--key", "ci.key", status=2)
    assert "ci.key: the password is wrong" in complaint
    assert "wrong\n" not in complaint.replace("password is wrong", "")


def test_a_password_that_is_not_utf8(run: Run, refused: Refusal, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", os.fsdecode(b"caf\xe9"))
    run("keygen", "-o", "latin")
    run("sign", NAME, "--key", "latin.key")
    monkeypatch.setenv("COSIGN_PASSWORD", os.fsdecode(b"caf\xe8"))
    assert "the password is wrong" in refused("sign", NAME, "--key", "latin.key", status=2)


@pytest.mark.slow
def test_where_it_was_found_is_told(run: Run, image: str, registry: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A tag in the local store may stand for another image than the same tag in the registry."""
    ref = f"{registry}/acme/where:v1"
    run("build", "model", "-t", ref)
    run("sign", ref, "--key", "ci.key")
    run("push", ref)
    assert run("verify", ref, "--key", "ci.pub")["where"] == "local"
    assert run("verify", ref, "--key", "ci.pub", "--remote")["where"] == "registry"
    for options, told in (((), True), (("--remote",), False)):
        assert main(["verify", ref, "--key", "ci.pub", *options]) == 0
        assert ("in the local store" in capsys.readouterr().err) == told


def test_a_key_in_the_environment(run: Run, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING_KEY", KEY.pkcs8_pem(b"").decode())
    monkeypatch.setenv("VERIFYING_KEY", KEY.public.pem.decode())
    run("sign", NAME, "--key", "env://SIGNING_KEY")
    assert run("verify", NAME, "--key", "env://VERIFYING_KEY")["digest"] == image


def test_an_image_that_was_changed(run: Run, refused: Refusal, image: str, tmp_path: Path) -> None:
    """Signed, exported, and then the tag in the layout is pointed at something else."""
    run("sign", NAME, "--key", "ci.key")
    run("export", NAME, "-o", "layout")
    assert run("verify", "oci:layout:v1", "--key", "ci.pub")["digest"] == image
    index = json.loads((tmp_path / "layout/index.json").read_text())
    (entry,) = [e for e in index["manifests"] if e["annotations"].get("org.opencontainers.image.ref.name") == "v1"]
    content = (tmp_path / "layout/blobs/sha256" / image.removeprefix("sha256:")).read_bytes()
    evil = Index.parse(content).edited(annotations={"evil": "yes"})
    (tmp_path / "layout/blobs/sha256" / evil.digest.hex).write_bytes(evil.content)
    entry.update(digest=str(evil.digest), size=len(evil.content))
    (tmp_path / "layout/index.json").write_text(json.dumps(index))
    assert f"{evil.digest} has no signature" in refused("verify", "oci:layout:v1", "--key", "ci.pub")


@pytest.mark.slow
def test_the_rest_of_its_life(run: Run, refused: Refusal, image: str, registry: str, tmp_path: Path) -> None:
    """Signed at build, pushed, copied, pulled, exported and copied back: verifiable at every stop."""
    remote, copied = f"{registry}/acme/life:v1", f"{registry}/other/life:v2"
    built = run("build", "model", "-t", remote, "--sign-key", "ci.key")
    assert "ci" not in built["signer"]
    assert run("push", remote)["attachments"] == 8
    assert run("verify", remote, "--remote", "--key", "ci.pub")["digest"] == built["digest"]
    assert run("copy", remote, copied)["attachments"] == 8
    assert run("verify", copied, "--key", "ci.pub")["digest"] == built["digest"]
    assert run("copy", copied, "oci:there:v1")["attachments"] == 8
    assert run("verify", "oci:there", "--key", "ci.pub")["digest"] == built["digest"]
    assert run("copy", "oci:there", f"{registry}/third/life:v1")["attachments"] == 8
    run("rm", remote)
    run("pull", f"{registry}/third/life:v1")
    assert run("verify", f"{registry}/third/life:v1", "--key", "ci.pub")["digest"] == built["digest"]
    run("export", f"{registry}/third/life:v1", "-o", "exported")
    assert run("verify", "oci:exported", "--key", "ci.pub")["digest"] == built["digest"]
    refused("verify", "oci:exported", "--key", "other.pub")


@pytest.mark.slow
def test_signed_in_the_registry(run: Run, refused: Refusal, image: str, registry: str) -> None:
    remote = f"{registry}/acme/remote:v1"
    run("build", "model", "-t", remote, "--push")
    assert run("sign", remote, "--remote", "--key", "ci.key")["where"] == "registry"
    assert run("verify", remote, "--remote", "--key", "ci.pub")["verified"][0]["format"] == "bundle"
    refused("verify", remote, "--key", "ci.pub")


def test_one_format(run: Run, image: str) -> None:
    run("sign", NAME, "--key", "ci.key", "--format", "legacy")
    assert run("verify", NAME, "--key", "ci.pub")["verified"][0]["format"] == "legacy"


def test_removing_an_image_removes_its_signatures(run: Run, image: str, tmp_path: Path) -> None:
    run("sign", NAME, "--key", "ci.key")
    assert len(run("list")) == 1
    run("rm", NAME)
    assert list((tmp_path / "home/store/blobs/sha256").iterdir()) == []


def test_inspect_shows_what_is_claimed(run: Run, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    fingerprint = run("sign", NAME, "--key", "ci.key")["signer"].removeprefix("key ")
    claims = run("inspect", NAME)["attached"]
    assert {(c["kind"], c["format"], c["claimedSigner"], c["verified"]) for c in claims} == {
        ("signature", "bundle", f"key {fingerprint}", False),
        ("signature", "legacy", None, False),
    }
    main(["inspect", NAME])
    assert "not verified, see `modelcar verify`" in capsys.readouterr().out


def test_no_weight_byte_is_read(run: Run, image: str, tmp_path: Path) -> None:
    """The weights are gone, and signing and verifying do not even notice."""
    for path in (tmp_path / "model").rglob("*"):
        if path.is_file():
            os.truncate(path, 0)
    run("sign", NAME, "--key", "ci.key")
    assert run("verify", NAME, "--key", "ci.pub")["digest"] == image
