"""`modelcar manifests`, `modelcar controller` and `registry-shim node`: what they say where they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from modelcar.cli import main as modelcar
from registry_shim.cli import main as registry_shim

POLICIES = Path(__file__).parents[3] / "policies/examples"


def test_policies_are_taken_along(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("signed-by-ci.yaml", "revoked.yaml")
    options = [word for name in names for word in ("--policy", str(POLICIES / name))]
    assert modelcar(["manifests", "--only", "webhook", "--trust", "enforce", *options]) == 0
    objects = list(yaml.safe_load_all(capsys.readouterr().out))
    (found,) = [each for each in objects if each["metadata"]["name"] == "modelcar-policies"]
    assert found["data"] == {name: (POLICIES / name).read_text() for name in names}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["manifests", "--trust", "enforce"], "there is no policy"),
        (["manifests", "--namespace", "No"], "'No' cannot be the name of a namespace"),
        (["manifests", "--registry", "registry.example"], "could not get the shim up again"),
        (["manifests", "--policy", "missing.yaml"], "missing.yaml"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert modelcar(arguments) in (2, 3)
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.out == ""
    assert "Traceback" not in printed.err


def test_what_is_no_policy_is_found_before_a_cluster_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text("kind: ClusterImagePolicy\n")
    assert modelcar(["manifests", "--trust", "warn", "--policy", str(tmp_path / "bad.yaml")]) == 2
    assert "bad.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("program", [[modelcar, "controller"], [registry_shim, "node", "--node-name", "a"]])
def test_programs_without_a_cluster_say_so(
    program: list[object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBERNETES_SERVICE_HOST", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    main, *arguments = program
    assert callable(main)
    assert main(arguments) == 2
    assert "no cluster is known" in capsys.readouterr().err


def test_a_node_has_a_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("NODE_NAME", raising=False)
    assert registry_shim(["node"]) == 2
    assert "--node-name" in capsys.readouterr().err
