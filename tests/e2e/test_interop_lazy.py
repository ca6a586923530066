"""eStargz and SOCI images through registries and engines that know nothing of either, and through `ctr-remote`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelcar.oci import Digest
from tests.e2e.support.commands import Modelcar, run
from tests.e2e.support.containerd import Containerd
from tests.e2e.support.registries import manifest_bytes
from tests.support.checkpoints import files_of

pytestmark = pytest.mark.slow

NAMES = {"--estargz": "tiny-estargz:v1", "--soci": "tiny-soci:v1"}


@dataclass(frozen=True)
class Lazy:
    """One of the two, in a registry."""

    option: str
    ref: str
    manifest: dict[str, Any]  # of linux/amd64

    @property
    def weights(self) -> list[dict[str, Any]]:
        return [layer for layer in self.manifest["layers"] if layer["annotations"]["dev.modelcar.layer"] == "weights"]


@pytest.fixture(scope="module", params=list(NAMES))
def lazy(request: pytest.FixtureRequest, modelcar: Modelcar, checkpoint: Path, debian_registry: str) -> Lazy:
    ref = f"{debian_registry}/acme/{NAMES[request.param]}"
    modelcar("build", checkpoint, "-t", ref, request.param, "--push")
    index = json.loads(manifest_bytes(ref))
    manifest = json.loads(manifest_bytes(f"{ref.rpartition(':')[0]}@{index['manifests'][0]['digest']}"))
    return Lazy(option=request.param, ref=ref, manifest=manifest)


@pytest.fixture(scope="module")
def layout(lazy: Lazy, modelcar: Modelcar, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layout") / "oci"
    modelcar("copy", lazy.ref, f"oci:{folder}")
    return folder


@pytest.mark.debian("docker-registry")
def test_the_model_comes_back(lazy: Lazy, modelcar: Modelcar, checkpoint: Path, tmp_path: Path) -> None:
    modelcar("pull", lazy.ref, "--remote", "-o", tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(checkpoint)
    assert modelcar("scan", lazy.ref)["verdict"] == "clean"


@pytest.mark.debian("docker-registry", "gzip", "tar", "bsdtar")
def test_tools_of_the_world_unpack_the_layers(lazy: Lazy, layout: Path, checkpoint: Path, tmp_path: Path) -> None:
    for layer in lazy.weights:
        blob = layout / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")
        if lazy.option == "--estargz":
            run("sh", "-c", f"gzip --test < {blob}")
        run("tar", "--extract", "--file", blob, "--directory", tmp_path, "--force-local")
        listed = run("bsdtar", "-tf", blob).stdout.split()
        assert ("stargz.index.json" in listed) == (lazy.option == "--estargz")
    weights = {path: data for path, data in files_of(checkpoint).items() if path.endswith(".safetensors")}
    assert files_of(tmp_path / "models") == weights


@pytest.mark.debian("docker-registry", "skopeo")
def test_skopeo_copies_it_unchanged(lazy: Lazy, modelcar: Modelcar) -> None:
    there = f"{lazy.ref}-copied"
    options = ("--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false")
    run("skopeo", "copy", *options, f"docker://{lazy.ref}", f"docker://{there}")
    assert Digest.of(manifest_bytes(there)) == Digest.of(manifest_bytes(lazy.ref))
    assert modelcar("scan", there)["verdict"] == "clean"


@pytest.mark.root
@pytest.mark.debian("docker-registry", "containerd", "ctr", "runc", "ctr-remote")
def test_containerd_runs_it_and_ctr_remote_sees_the_table(lazy: Lazy, containerd_engine: Containerd) -> None:
    containerd_engine.pull(lazy.ref)
    container = containerd_engine.start(lazy.ref, "holder", "/.modelcar/holder", "hold")
    weights = container.root / "models" / "model-00001-of-00003.safetensors"
    assert weights.stat().st_size > 1_000_000
    container.stop()
    if lazy.option == "--estargz":
        for layer in lazy.weights:
            done = containerd_engine.ctr_remote("images", "get-toc-digest", layer["digest"])
            assert done.stdout.strip() == layer["annotations"]["containerd.io/snapshot/stargz/toc.digest"]
