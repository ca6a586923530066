"""The installed command: what was built comes back bit for bit, and no digest changes on the way."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from modelcar.store import Names, OciLayout
from tests.e2e.conftest import Published
from tests.e2e.support.commands import Modelcar, run
from tests.e2e.support.registries import manifest_bytes
from tests.support.checkpoints import files_of
from tests.support.images import validate_in

pytestmark = [pytest.mark.slow, pytest.mark.debian("docker-registry", "skopeo")]


@pytest.fixture(params=["embedded", "debian_registry"])
def registry(request: pytest.FixtureRequest) -> str:
    address: str = request.getfixturevalue(request.param)
    return address


def test_build_push_pull(modelcar: Modelcar, checkpoint: Path, registry: str, tmp_path: Path) -> None:
    ref = f"{registry}/cli/tiny:v1"
    built = modelcar("build", checkpoint, "-t", ref)
    pushed = modelcar("push", ref)
    pulled = modelcar("pull", ref, "--remote", "-o", tmp_path / "copy")
    assert built["digest"] == pushed["digest"] == pulled["digest"]
    assert files_of(tmp_path / "copy") == files_of(checkpoint)
    modelcar("pull", f"{ref}-modelpack", "--remote", "-o", tmp_path / "twin")
    assert files_of(tmp_path / "twin") == files_of(checkpoint)
    assert modelcar("push", ref)["digest"] == built["digest"], "a second push finds everything there"


def test_build_and_push_in_one_step(modelcar: Modelcar, checkpoint: Path, registry: str, tmp_path: Path) -> None:
    ref = f"{registry}/cli/at-once:v1"
    built = modelcar("build", checkpoint, "-t", ref, "--push")
    assert modelcar("pull", ref, "--remote", "-o", tmp_path / "copy")["digest"] == built["digest"]
    assert files_of(tmp_path / "copy") == files_of(checkpoint)


def test_copy_through_a_layout(
    modelcar: Modelcar, model: Published, debian_registry: str, embedded: str, tmp_path: Path
) -> None:
    there, back = f"{debian_registry}/copied/tiny:v1", f"{embedded}/copied/tiny:v1"
    layout = f"oci:{tmp_path / 'layout'}:v1"
    stops = [model.ref, layout, there, back, f"oci:{tmp_path / 'other'}"]
    for source, target in pairwise(stops):
        assert modelcar("copy", source, target)["digest"] == model.digest
    assert manifest_bytes(there) == manifest_bytes(back) == manifest_bytes(model.ref)
    for folder in ("layout", "other"):
        validate_in(OciLayout(tmp_path / folder), Names(OciLayout(tmp_path / folder)).get("v1"))
    modelcar("pull", layout, "-o", tmp_path / "copy")
    assert files_of(tmp_path / "copy") == model.files


def test_copy_within_a_registry_moves_nothing(modelcar: Modelcar, model: Published, embedded: str) -> None:
    assert modelcar("copy", model.ref, f"{embedded}/within/tiny:v1")["digest"] == model.digest
    assert manifest_bytes(f"{embedded}/within/tiny:v1") == manifest_bytes(model.ref)


def test_skopeo_reads_an_export(modelcar: Modelcar, model: Published, tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    assert modelcar("export", model.ref, "-o", folder)["digest"] == model.digest
    raw = run("skopeo", "inspect", "--raw", f"oci:{folder}:v1").stdout
    assert json.loads(raw) == json.loads(manifest_bytes(model.ref))
    shown = json.loads(run("skopeo", "inspect", "--override-arch", "arm64", f"oci:{folder}:v1").stdout)
    assert shown["Architecture"] == "arm64"
    run("skopeo", "copy", "--all", "--preserve-digests", f"oci:{folder}:v1", f"oci:{tmp_path / 'again'}:v1")
    assert modelcar("pull", f"oci:{tmp_path / 'again'}", "-o", tmp_path / "copy")["digest"] == model.digest
    assert files_of(tmp_path / "copy") == model.files


def test_inspect_says_the_same_wherever_the_image_is(modelcar: Modelcar, model: Published, tmp_path: Path) -> None:
    modelcar("export", model.ref, "-o", tmp_path / "layout")
    local = modelcar("inspect", model.ref)
    assert modelcar("inspect", model.ref, "--remote") == local
    assert {**modelcar("inspect", f"oci:{tmp_path / 'layout'}"), "name": model.ref} == local


def test_many_processes_in_one_store(checkpoint: Path, embedded: str, tmp_path: Path) -> None:
    """Builds, pushes and collections at the same time in one store."""
    modelcar = Modelcar(tmp_path / "home")
    refs = [f"{embedded}/many/tiny-{i}:v1" for i in range(6)]
    processes = [modelcar.start("build", checkpoint, "-t", ref, "--push") for ref in refs]
    processes += [modelcar.start("gc") for _ in range(3)]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 9, said
    assert len({image["digest"] for image in modelcar("list")}) == 1
    for i, ref in enumerate(refs):
        modelcar("pull", ref, "--remote", "-o", tmp_path / str(i))
        assert files_of(tmp_path / str(i)) == files_of(checkpoint)


def test_what_was_pulled_may_be_written_by_its_owner(modelcar: Modelcar, model: Published, tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        modelcar("pull", model.ref, "--remote", "-o", tmp_path / "copy")
    finally:
        os.umask(old)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert modes == {0o640}
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o750
