"""`modelcar verify --policy`: what is decided, said and returned."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from modelcar.cli import main
from modelcar.oci import Digest
from modelcar.signing.keys import load
from tests.support.checkpoints import make_checkpoint
from tests.support.policies import as_file, cluster_image_policy, deny_list, model_policy

REF = "registry.example/acme/tiny:v1"
Verify = Callable[..., tuple[int, str, str]]
PASS = {"static": {"action": "pass"}}


@pytest.fixture
def verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verify:
    """Verify with these documents, in a folder with a signed image; returns status, stdout and stderr."""
    monkeypatch.setenv("MODELCAR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["build", str(make_checkpoint(tmp_path / "checkpoint")), "-t", REF],
        ["keygen", "-o", "ci"],
        ["keygen", "-o", "other"],
        ["sign", REF, "--key", "ci.key"],
    ):
        assert main([*arguments, "-q"] if arguments[0] != "keygen" else arguments) == 0, capsys.readouterr().err

    def verify(*documents: Any, ref: str = REF, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        capsys.readouterr()
        policy = []
        if documents:
            Path("policy.yaml").write_bytes(as_file(*documents))
            policy = ["--policy", "policy.yaml"]
        status = main(["verify", ref, *policy, *options])
        answer = capsys.readouterr()
        assert "internal error" not in answer.err
        return status, answer.out, answer.err

    return verify


def signed_by(name: str) -> dict[str, Any]:
    return cluster_image_policy({"name": name, "key": {"data": Path(f"{name}.pub").read_text()}})


def test_allowed_and_denied(verify: Verify) -> None:
    status, out, err = verify(signed_by("ci"))
    assert (status, err) == (0, "")
    assert "ClusterImagePolicy policy" in out
    assert "satisfied" in out
    assert "sha256:" in out.splitlines()[-1]
    status, out, err = verify(signed_by("other"))
    assert status == 1
    assert f"{REF} is denied" in err
    assert "- ClusterImagePolicy policy: authority other: " in err
    assert "denies" in out


def test_json(verify: Verify) -> None:
    status, out, _ = verify(signed_by("ci"), options=("--json",))
    assert status == 0
    document = json.loads(out)
    assert document["policy"]["allowed"] is True
    assert document["policy"]["digest"] == document["digest"]
    status, out, _ = verify(signed_by("other"), options=("--json",))
    assert status == 1
    assert json.loads(out)["policy"]["reasons"]


def test_rules_about_the_model_are_held_against_its_index(verify: Verify) -> None:
    assert verify(model_policy(formats={"allowed": ["safetensors"]}))[0] == 0
    status, _, err = verify(model_policy(formats={"allowed": ["gguf"]}))
    assert status == 1
    assert "safetensors" in err
    status, _, err = verify(model_policy(sources={"allowed": [{"repository": "acme/*"}]}))
    assert status == 1
    assert "where it comes from is not said" in err


def test_warnings_do_not_deny(verify: Verify) -> None:
    policy = signed_by("other")
    policy["spec"]["mode"] = "warn"
    status, out, _ = verify(policy)
    assert status == 0
    assert "warning: ClusterImagePolicy policy: authority other: " in out


def test_the_default(verify: Verify) -> None:
    elsewhere = cluster_image_policy(PASS, images=[{"glob": "ghcr.io/**"}])
    assert verify(elsewhere)[0] == 1
    assert verify(elsewhere, options=("--default", "allow"))[0] == 0


def test_a_deny_list_revokes_image_and_layer(verify: Verify, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["inspect", REF, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    image = Digest.parse(document["digest"])
    layer = Digest.parse(document["manifests"][0]["layers"][0]["digest"])
    for digest in (image, layer):
        Path("revoked.yaml").write_bytes(as_file(deny_list(digest)))
        revoked = ("--deny-list", "revoked.yaml")
        status, _, err = verify(signed_by("ci"), options=revoked)
        assert status == 1
        assert "revoked" in err
        assert verify(options=(*revoked, "--key", "ci.pub"))[0] == 1
    Path("revoked.yaml").write_bytes(as_file(deny_list(Digest.of(b"unrelated"))))
    assert verify(signed_by("ci"), options=("--deny-list", "revoked.yaml"))[0] == 0
    assert verify(options=("--deny-list", "revoked.yaml", "--key", "ci.pub"))[0] == 0
    assert verify(options=("--deny-list", "revoked.yaml", "--key", "other.pub"))[0] == 1


def test_a_deny_list_alone_vouches_for_nothing(verify: Verify) -> None:
    Path("revoked.yaml").write_bytes(as_file(deny_list(Digest.of(b"unrelated"))))
    status, _, err = verify(options=("--deny-list", "revoked.yaml"))
    assert status == 2
    assert "nothing says whose signature is wanted" in err


def test_a_key_and_policies_must_both_agree(verify: Verify) -> None:
    assert verify(signed_by("ci"), options=("--key", "ci.pub"))[0] == 0
    assert verify(signed_by("ci"), options=("--key", "other.pub"))[0] == 1
    assert verify(signed_by("other"), options=("--key", "ci.pub"))[0] == 1


def test_malformed_policies_are_wrong_usage(verify: Verify) -> None:
    status, _, err = verify({**signed_by("ci"), "kind": "Policy"})
    assert status == 2
    assert "policy.yaml: kind 'Policy'" in err
    assert verify(options=("--policy", "missing.yaml"))[0] == 2
    Path("no-list.yaml").write_bytes(as_file(signed_by("ci")))
    status, _, err = verify(signed_by("ci"), options=("--deny-list", "no-list.yaml"))
    assert status == 2
    assert "is not a deny-list" in err
    assert verify(signed_by("ci"), options=("--trust-root", "nameless"))[0] == 2


def test_a_layout_needs_the_name_that_policies_match(verify: Verify) -> None:
    assert main(["export", REF, "-o", "layout"]) == 0
    policy = signed_by("ci")
    policy["spec"]["images"] = [{"glob": "registry.example/acme/**"}]
    status, _, err = verify(policy, ref="oci:layout")
    assert status == 2
    assert "--as" in err
    assert verify(policy, ref="oci:layout", options=("--as", REF))[0] == 0
    assert verify(policy, ref="oci:layout", options=("--as", "ghcr.io/acme/tiny:v1"))[0] == 1


class Service:
    """A plug-in for keys of the kind `testkms://FILE`: it has the public key that lies in the file."""

    def __init__(self, reference: str) -> None:
        self._file = Path(reference.removeprefix("testkms://"))

    def public_key(self) -> bytes:
        return self._file.read_bytes()

    def sign(self, message: bytes) -> bytes:
        raise NotImplementedError


def test_keys_of_services_need_their_plug_in(verify: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    def kms(url: str) -> dict[str, Any]:
        return cluster_image_policy({"name": "kms", "key": {"kms": url}})

    status, _, err = verify(kms("testkms://ci.pub"))
    assert status == 1
    assert "the key service testkms://ci.pub is not at hand" in err
    point = EntryPoint(name="testkms", value=f"{__name__}:Service", group=load.PLUGINS)
    monkeypatch.setattr(load, "entry_points", lambda group: EntryPoints([point]) if group == load.PLUGINS else ())
    assert verify(kms("testkms://ci.pub"))[0] == 0
    assert verify(kms("testkms://other.pub"))[0] == 1
    monkeypatch.setenv("PLANTED", Path("ci.pub").read_text())
    assert verify(kms("env://PLANTED"))[0] == 1
