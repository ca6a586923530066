"""skopeo carries an image through OCI layouts and other people's registries, and not a byte of it changes."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import pytest

from modelcar.oci.validate import validate
from modelcar.store import Names, OciLayout
from tests.e2e.conftest import Published
from tests.e2e.support.commands import Modelcar, run
from tests.e2e.support.registries import manifest_bytes
from tests.support.checkpoints import files_of

pytestmark = [pytest.mark.slow, pytest.mark.debian("skopeo", "docker-registry")]

COPY = ["skopeo", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"]


def test_round_trip_through_a_layout_and_another_registry(
    model: Published, modelcar: Modelcar, embedded: str, debian_registry: str, tmp_path: Path
) -> None:
    layout, there, back = tmp_path / "layout", f"{debian_registry}/acme/tiny:v1", f"{embedded}/returned/tiny:v1"
    for tag in ("v1", "v1-modelpack"):
        here = model.ref.removesuffix("v1") + tag
        stops = [
            f"docker://{here}",
            f"oci:{layout}:{tag}",
            f"docker://{there.removesuffix('v1')}{tag}",
            f"docker://{back.removesuffix('v1')}{tag}",
        ]
        for source, target in pairwise(stops):
            run(*COPY, "--preserve-digests", source, target)
        original = manifest_bytes(here)
        assert manifest_bytes(there.removesuffix("v1") + tag) == original
        assert manifest_bytes(back.removesuffix("v1") + tag) == original
        root = Names(OciLayout(layout)).get(tag)
        assert str(root.digest) == f"sha256:{hashlib.sha256(original).hexdigest()}"
        validate(root, OciLayout(layout).open)  # type: ignore[arg-type]  # its readers have what is used of a file
    assert modelcar("pull", back, "--remote", "-o", tmp_path / "copy")["digest"] == model.digest
    assert files_of(tmp_path / "copy") == model.files


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_inspect_shows_the_platform_and_its_layers(model: Published, architecture: str) -> None:
    inspect = ["skopeo", "inspect", "--tls-verify=false", "--override-arch", architecture, f"docker://{model.ref}"]
    shown = json.loads(run(*inspect).stdout)
    assert (shown["Os"], shown["Architecture"]) == ("linux", architecture)
    assert shown["Digest"] == model.digest
    assert shown["RepoTags"] == ["v1", "v1-modelpack"]
    assert shown["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    entries = json.loads(manifest_bytes(model.ref))["manifests"]
    (entry,) = [e for e in entries if e["platform"]["architecture"] == architecture]
    manifest = json.loads(manifest_bytes(f"{model.ref.removesuffix(':v1')}@{entry['digest']}"))
    assert shown["Layers"] == [layer["digest"] for layer in manifest["layers"]]
    config = json.loads(run(*inspect, "--config").stdout)
    assert config["architecture"] == architecture
    assert config["config"]["Entrypoint"] == ["/.modelcar/holder"]


def test_an_architecture_that_is_not_there_never_selects_the_modelpack_entry(model: Published) -> None:
    inspect = ["skopeo", "inspect", "--tls-verify=false", "--override-arch", "s390x", f"docker://{model.ref}"]
    done = run(*inspect, check=False)
    assert done.returncode != 0
    assert "no image found in image index for architecture s390x" in done.stderr


def test_without_preserve_digests_layers_are_compressed_and_digests_change(
    model: Published, modelcar: Modelcar, tmp_path: Path
) -> None:
    """What docs/how-to/run-the-image.md warns of: only the files are still the same."""
    layout = tmp_path / "layout"
    run(*COPY, f"docker://{model.ref}", f"oci:{layout}:v1")
    index = json.loads(run("skopeo", "inspect", "--raw", f"oci:{layout}:v1").stdout)
    blobs = layout / "blobs/sha256"
    for entry in index["manifests"][:2]:
        manifest = json.loads((blobs / entry["digest"].removeprefix("sha256:")).read_text())
        assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar+gzip"}
        assert not any("annotations" in layer for layer in manifest["layers"])
    assert modelcar("pull", f"oci:{layout}:v1", "-o", tmp_path / "copy")["digest"] != model.digest
    assert files_of(tmp_path / "copy") == model.files
