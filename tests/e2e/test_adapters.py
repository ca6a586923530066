"""A model and its adapter in one image, through other people's registries and engines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelcar.oci.validate import validate
from modelcar.store import Names, OciLayout
from tests.e2e.conftest import Published
from tests.e2e.support.commands import Modelcar, run
from tests.e2e.support.podman import Podman
from tests.support.checkpoints import age, files_of
from tests.support.weights import safetensors_bytes

pytestmark = [pytest.mark.slow, pytest.mark.debian("skopeo", "docker-registry")]


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """An image with base and adapter, the answer of the build that pushed it, and the files that it has."""

    ref: str
    built: dict[str, Any]
    files: dict[str, bytes]


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    weights: dict[str, tuple[str, tuple[int, ...], bytes]] = {
        "base_model.model.lora_A.weight": ("F32", (64, 64), bytes(range(256)) * 64)
    }
    (folder / "adapter_model.safetensors").write_bytes(safetensors_bytes(weights))
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    age(folder)
    return folder


def adapted(modelcar: Modelcar, model: Published, adapter: Path, ref: str) -> Adapted:
    options = ("--adapter-of", model.ref, "--with-base", "--adapter-name", "poet", "--push")
    built = modelcar("build", adapter, "-t", ref, *options)
    files = model.files | {f"adapters/poet/{path}": data for path, data in files_of(adapter).items()}
    return Adapted(ref=ref, built=built, files=files)


@pytest.fixture
def stranger(tmp_path: Path) -> Modelcar:
    """Somebody who has nothing of the base."""
    return Modelcar(tmp_path / "stranger")


def test_within_a_registry_the_base_is_mounted(
    stranger: Modelcar, model: Published, adapter: Path, embedded: str, tmp_path: Path
) -> None:
    both = adapted(stranger, model, adapter, f"{embedded}/acme/poet:v1")
    assert both.built["sent"] < 256 << 10
    assert not [path for path in stranger.home.rglob("*") if path.is_file() and path.stat().st_size > 512 << 10]
    stranger("pull", both.ref, "-o", tmp_path / "out")
    assert files_of(tmp_path / "out") == both.files


def test_between_registries_it_is_copied_and_skopeo_finds_it_whole(
    stranger: Modelcar, model: Published, adapter: Path, debian_registry: str, tmp_path: Path
) -> None:
    both = adapted(stranger, model, adapter, f"{debian_registry}/acme/poet:v1")
    assert both.built["sent"] > 3_000_000
    layout = tmp_path / "layout"
    copy = ("skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false")
    run(*copy, f"docker://{both.ref}", f"oci:{layout}:v1")
    root = Names(OciLayout(layout)).get("v1")
    assert str(root.digest) == both.built["digest"]
    validate(root, OciLayout(layout).open)  # type: ignore[arg-type]  # its readers have what is used of a file
    pushed = stranger("push", both.ref, f"{debian_registry}/acme/other:v1", "--mount-from", "acme/poet")
    assert pushed["sent"] == 0


def test_a_copy_in_one_registry_is_mounted(
    modelcar: Modelcar, model: Published, debian_registry: str, tmp_path: Path
) -> None:
    first, second = f"{debian_registry}/mounts/one:v1", f"{debian_registry}/mounts/two:v1"
    modelcar("copy", model.ref, first)
    pushed = modelcar("push", model.ref, second, "--mount-from", "mounts/one")
    assert pushed["sent"] == 0
    modelcar("pull", second, "--remote", "-o", tmp_path / "out")
    assert files_of(tmp_path / "out") == model.files


@pytest.mark.root
@pytest.mark.debian("podman", "runc", "buildah")
def test_podman_runs_it(
    stranger: Modelcar, model: Published, adapter: Path, embedded: str, podman_engine: Podman
) -> None:
    both = adapted(stranger, model, adapter, f"{embedded}/acme/poet-runs:v1")
    podman_engine.pull(both.ref)
    try:
        holder = podman_engine.start(both.ref)
        assert files_of(podman_engine.root(holder) / "models") == both.files
        assert podman_engine.stop(holder) == 0
    finally:
        podman_engine.clear()
