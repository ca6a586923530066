"""`modelcar inject`: files in, files out, and no network."""

from __future__ import annotations

import io
import json
import socket
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.cli.conftest import ModelcarCli

GOOD = """\
apiVersion: v1
kind: Pod
metadata: {name: llm, annotations: {modelcar.dev/model: oci://registry.example/acme/llm:v1}}
spec:
  securityContext: {runAsUser: 1000, runAsGroup: 1000}
  containers: [{name: server, image: registry.example/server:1}]
"""
BAD = GOOD.replace("  securityContext: {runAsUser: 1000, runAsGroup: 1000}\n", "")
OTHER = "# theirs\nkind:   Secret\n"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("somebody used the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


def test_a_file_comes_out_rewritten_and_twice_is_the_same(modelcar: ModelcarCli, good: Path) -> None:
    once = modelcar("inject", "-f", good)
    assert yaml.safe_load(once)["spec"]["shareProcessNamespace"] is True
    good.write_text(once)
    assert modelcar("inject", "-f", good) == once


def test_standard_input(modelcar: ModelcarCli, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    assert modelcar("inject", "-f", "-") == modelcar("inject", "-f", good)


def test_several_files_are_one_stream(modelcar: ModelcarCli, good: Path, tmp_path: Path) -> None:
    other, third = tmp_path / "other.yaml", tmp_path / "third.yaml"
    other.write_text(OTHER.rstrip())
    third.write_text(f"---\n{OTHER}")
    out = modelcar("inject", "-f", other, "-f", good, "-f", third, "-f", other)
    assert [document["kind"] for document in yaml.safe_load_all(out)] == ["Secret", "Pod", "Secret", "Secret"]
    assert out.startswith(OTHER)
    assert out.endswith(f"---\n{OTHER}---\n{OTHER.rstrip()}")


def test_a_folder_is_what_kubectl_takes_of_it(modelcar: ModelcarCli, good: Path) -> None:
    good.with_name("notes.txt").write_text("not: [yaml")
    good.with_name("a.json").write_text('{"kind": "Secret"}')
    out = modelcar("inject", "-f", good.parent)
    assert [document["kind"] for document in yaml.safe_load_all(out)] == ["Secret", "Pod"]


def test_a_denial_prints_nothing_but_why(modelcar: ModelcarCli, good: Path) -> None:
    bad = good.with_name("bad.yaml")
    bad.write_text(f"{OTHER}---\n{BAD}")
    status, out, err = modelcar.run("inject", "-f", good, "-f", bad)
    assert (status, out) == (1, "")
    first, hint = err.splitlines()
    assert first.startswith(f"modelcar: {bad}:4: Pod llm: container 'server': ")
    assert "runAsUser" in hint


def test_several_denials_are_all_told(modelcar: ModelcarCli, good: Path) -> None:
    good.write_text(f"{BAD}---\n{BAD}")
    status, out, err = modelcar.run("inject", "-f", good)
    assert (status, out) == (1, "")
    assert "modelcar: 2 pods are denied" in err
    assert f"{good}:1: Pod llm" in err
    assert f"{good}:7: Pod llm" in err


def test_a_summary_for_programs(modelcar: ModelcarCli, good: Path) -> None:
    text = modelcar("inject", "-f", good)
    assert modelcar.json("inject", "-f", good) == {
        "output": text,
        "pods": [
            {
                "file": str(good),
                "line": 1,
                "kind": "Pod",
                "name": "llm",
                "namespace": None,
                "decision": "patched",
                "warnings": [],
                "message": None,
            }
        ],
        "notes": [],
    }
    good.write_text(BAD)
    status, out, _ = modelcar.run("inject", "-f", good, "--json")
    summary = json.loads(out)
    assert (status, summary["output"]) == (1, None)
    assert summary["pods"][0]["decision"] == "denied"
    assert "runAsUser" in summary["pods"][0]["message"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"kind: Pod\nspec: {{ .Values }}\n", "f.yaml:2: it is not YAML"),
        (b"a: 1\n---\n\xff\n", "f.yaml:3: it is not UTF-8"),
        (None, "there is no"),
    ],
)
def test_wrong_input_is_told_with_its_place(
    modelcar: ModelcarCli, tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "f.yaml"
    if content is not None:
        file.write_bytes(content)
    status, out, err = modelcar.run("inject", "-f", file)
    assert (status, out) == (2, "")
    assert message in err


def test_a_folder_without_files_is_a_mistake(modelcar: ModelcarCli, tmp_path: Path) -> None:
    status, _, err = modelcar.run("inject", "-f", tmp_path)
    assert status == 2
    assert ".yaml" in err


def test_the_webhooks_settings_count(modelcar: ModelcarCli, good: Path, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("rewriting: {path: /srv/model}\nserver: {listen: 127.0.0.1:1}\n")
    assert "mountPath: /srv/model" in modelcar("inject", "-f", good, "--config", config)
    config.write_text("enabled: false\n")
    assert modelcar("inject", "-f", good, "--config", config) == GOOD


def test_policies_are_not_asked_without_a_network_and_that_is_said(
    modelcar: ModelcarCli, good: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(f"trust: {{mode: enforce, policies: [{tmp_path}/policies]}}\n")
    status, out, err = modelcar.run("inject", "-f", good, "--config", config)
    assert status == 0
    assert yaml.safe_load(out)["spec"]["shareProcessNamespace"] is True
    assert "policies are not asked without --resolve" in err


def test_what_was_left_to_others_is_an_aside(modelcar: ModelcarCli, tmp_path: Path) -> None:
    file = tmp_path / "isvc.yaml"
    text = (
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: x}\nspec: {predictor: {model: "
    )
    file.write_text(text + "{storageUri: oci://a}}}\n")
    status, out, err = modelcar.run("inject", "-f", file)
    assert (status, out) == (0, file.read_text())
    assert "KServe makes these pods" in err
    assert modelcar.run("inject", "-f", file, "--quiet")[2] == ""
