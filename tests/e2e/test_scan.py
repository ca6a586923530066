"""A real model is scanned where it lies, as an image, and far away; its verdict travels; and all that costs little."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from examples.quickstart.checkpoint import download, reshard
from tests.e2e.support.commands import Modelcar, run

pytestmark = [pytest.mark.slow, pytest.mark.debian("docker-registry", "skopeo")]

_CACHE = Path(__file__).resolve().parents[2] / ".cache" / "models"


@pytest.fixture(scope="module")
def minilm(workspace: Path) -> Path:
    """all-MiniLM-L6-v2 in several shards."""
    folder = workspace / "scan" / "minilm"
    reshard(download(_CACHE), folder)
    return folder


@pytest.fixture(scope="module")
def published(modelcar: Modelcar, debian_registry: str, minilm: Path) -> str:
    """In docker-registry and nowhere else."""
    ref = f"{debian_registry}/acme/scanned:v1"
    assert modelcar("build", minilm, "-t", ref, "--push")["verdict"] == "clean"
    modelcar("rm", ref)
    return ref


def test_a_real_model_is_clean_where_it_lies_and_in_a_registry(
    modelcar: Modelcar, minilm: Path, published: str
) -> None:
    files = {file["path"]: file["verdict"] for file in modelcar("scan", minilm)["files"]}
    assert set(files.values()) == {"clean"}
    report = modelcar("scan", published, "--again")
    assert {file["path"]: file["verdict"] for file in report["files"]} == files
    assert (report["verdict"], report["findings"]) == ("clean", [])


def test_a_quick_scan_reads_at_most_a_mebibyte(modelcar: Modelcar, published: str) -> None:
    done = modelcar.run("scan", published, "--quick", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["verdict"]) == (1, "unverified")
    assert 0 < report["bytesRead"] <= 1 << 20


def test_a_quick_scan_sees_a_pickle_that_runs_commands(
    modelcar: Modelcar, minilm: Path, debian_registry: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(minilm, tmp_path / "model"))
    (folder / "optimizer.pt").write_bytes(b"\x80\x02cposix\nsystem\nU\x02idR.")
    ref = f"{debian_registry}/acme/evil:v1"
    refused = modelcar.run("build", folder, "-t", ref, "--push")
    assert refused.returncode == 1
    assert "the scan says no" in refused.stderr
    modelcar("build", folder, "-t", ref, "--push", "--no-scan")
    done = modelcar.run("scan", ref, "--quick", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["verdict"]) == (1, "malicious")
    assert report["bytesRead"] <= 1 << 20


def test_the_verdict_travels_with_copies_and_a_policy_asks_for_it(
    modelcar: Modelcar, published: str, embedded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "secret")
    modelcar("keygen", "-o", tmp_path / "scanner")
    policy = {
        "apiVersion": "policy.modelcar.dev/v1alpha1",
        "kind": "ModelPolicy",
        "metadata": {"name": "scanned"},
        "spec": {
            "images": [{"glob": "**"}],
            "scan": {
                "authorities": [{"name": "scanner", "key": {"data": (tmp_path / "scanner.pub").read_text()}}],
                "maxAge": "1h",
                "ruleSet": {"name": "modelcar", "minVersion": "2026.11"},
            },
        },
    }
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy))
    assert modelcar.run("verify", published, "--policy", tmp_path / "policy.yaml").returncode == 1
    attached = modelcar("scan", published, "--key", tmp_path / "scanner.key")["attached"]
    assert len(attached) == 4, "the index, two images and the ModelPack twin"
    copy = f"{embedded}/acme/scanned-copy:v1"
    modelcar("copy", published, copy)
    assert modelcar("verify", copy, "--policy", tmp_path / "policy.yaml")["policy"]["allowed"]
    one = json.loads(run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{copy}").stdout)
    digest = one["manifests"][0]["digest"]
    name = copy.removesuffix(":v1")
    assert modelcar("verify", f"{name}@{digest}", "--policy", tmp_path / "policy.yaml")["policy"]["allowed"]
