"""A release from its commit: built twice with equal bytes, signed, verified, and run from the image's own layer.

The base is made here; the packages of others are the installed ones, put back into wheels.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from modelcar.oci import ImageConfig, Index, Manifest
from modelcar.oci.validate import validate
from modelcar.store.layout import OciLayout
from modelcar.store.names import Names
from modelcar.store.tree import load
from scripts.release.__main__ import main
from scripts.release.image import ARCHITECTURES
from scripts.release.source import unpack
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.python_base import VERSION, write_small_base
from tests.e2e.support.releases import IN_THE_IMAGE, SITE, build, closure, make_parts

pytestmark = pytest.mark.slow
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_parts(tmp_path_factory.mktemp("parts"), write_small_base)


@pytest.fixture(scope="module")
def released(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("release") / "out"
    assert build(parts, out) == 0
    return out


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COSIGN_PASSWORD", PASSWORD)
    monkeypatch.setenv("MODELCAR_HOME", str(tmp_path / "home"))
    modelcar = Modelcar(tmp_path / "home")
    for name in ("sign", "attest"):
        modelcar("keygen", "-o", tmp_path / name)
    return tmp_path


@pytest.fixture
def signed(released: Path, keys: Path) -> Path:
    """A copy of the release, signed."""
    folder = keys / "signed"
    for name, content in bytes_of(released).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    assert main(["sign", str(folder), "--key", str(keys / "sign.key"), "--attest-key", str(keys / "attest.key")]) == 0
    return folder


def test_two_builds_are_equal(parts: Path, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another folder, with another clock, mask, language and time zone."""
    for name, value in {
        "TZ": "Asia/Tokyo",
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": "1",
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    before = os.umask(0o077)
    try:
        assert build(parts, tmp_path / "again") == 0
    finally:
        os.umask(before)
    assert bytes_of(tmp_path / "again") == bytes_of(released)


def test_the_image_is_well_made(released: Path, parts: Path) -> None:
    layout = OciLayout(released / "image", create=False)
    root = Names(layout).only()
    validate(root, layout.open)  # type: ignore[arg-type]  # its readers have what is used of a file
    index = load(layout, root)
    assert isinstance(index, Index)
    assert [m.platform and m.platform.architecture for m in index.manifests] == list(ARCHITECTURES)
    for entry in index.manifests:
        manifest = load(layout, entry)
        assert isinstance(manifest, Manifest)
        assert len(manifest.layers) == 2
        with layout.open(manifest.config.digest) as reader:
            config = ImageConfig.parse(reader.read())
        assert config.runtime["User"] == "65532:65532"
        assert (config.runtime["Entrypoint"], config.runtime["Cmd"]) == (["modelcar"], ["--help"])
        assert "PYTHONDONTWRITEBYTECODE=1" in config.runtime["Env"]
        commit = config.runtime["Labels"]["org.opencontainers.image.revision"]
        assert len(commit) == 40


def test_its_layer_is_all_that_the_program_needs(released: Path, tmp_path: Path) -> None:
    """The layer unpacked, and run by this machine's Python without anything else that is installed here."""
    layout = OciLayout(released / "image", create=False)
    index = load(layout, Names(layout).only())
    assert isinstance(index, Index)
    manifest = load(layout, index.manifests[0])
    assert isinstance(manifest, Manifest)
    with layout.open(manifest.layers[-1].digest) as reader:
        (tmp_path / "layer.tar").write_bytes(reader.read())
    with tarfile.open(tmp_path / "layer.tar") as archive:
        assert {(m.uid, m.gid, m.mtime) for m in archive} == {(0, 0, 0)}
        unpack(archive, tmp_path / "root")
    environment = {"PYTHONPATH": str(tmp_path / "root" / SITE), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}
    for program, arguments in (("modelcar", ["--version"]), ("modelcar", ["plan", "--help"])):
        done = subprocess.run(
            [sys.executable, "-S", "-P", tmp_path / "root/usr/local/bin" / program, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
    first = (tmp_path / "root/usr/local/bin/registry-shim").read_text().splitlines()[0]
    assert first == f"#!/usr/local/bin/python{VERSION}"


def test_the_bundle_names_the_image_by_its_digest(released: Path, tmp_path: Path) -> None:
    root = Names(OciLayout(released / "image", create=False)).only()
    (file,) = released.glob("*-kustomize.tar")
    with tarfile.open(file) as archive:
        unpack(archive, tmp_path)
    base: dict[str, Any] = yaml.safe_load((tmp_path / "base/kustomization.yaml").read_text())
    pages = [(tmp_path / "base" / name).read_text() for name in base["resources"]]
    images = {
        line.split("image: ", 1)[1]
        for page in pages
        for line in page.splitlines()
        if line.lstrip(" -").startswith("image: ")
    }
    assert f"registry.example/modelcar/modelcar@{root.digest}" in images
    assert not [image for image in images if "modelcar" in image and "@sha256:" not in image]
    objects = [each for page in pages for each in yaml.safe_load_all(page)]
    for each in objects:
        if (group := each["apiVersion"].rpartition("/")[0]).endswith("k8s.io") or "." not in group:
            kubernetes_validate.validate(each, "1.34", strict=True)
    kinds = {each["kind"] for each in objects}
    assert {"CustomResourceDefinition", "DaemonSet", "Deployment", "MutatingWebhookConfiguration"} <= kinds


def test_the_sbom_is_cyclonedx_and_whole(released: Path) -> None:
    text = (released / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    names = {each["name"] for each in json.loads(text)["components"]}
    assert names >= closure("modelcar", IN_THE_IMAGE) - {"modelcar"}
    assert "docker.io/library/python" in names


def test_what_is_signed_verifies_and_what_was_changed_does_not(
    signed: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    modelcar = Modelcar(keys / "home")
    image = f"oci:{signed / 'image'}"
    modelcar("verify", image, "--key", keys / "sign.pub")
    for kind in ("provenance", "https://cyclonedx.org/bom"):
        modelcar("verify", image, "--key", keys / "attest.pub", "--attestation", kind)
    check = ["verify", str(signed), "--key"]
    assert main([*check, str(keys / "attest.pub")]) == 0
    assert main([*check, str(keys / "sign.pub")]) == 1

    (signed / "image").rename(keys / "image")
    write_small_base(signed / "image")  # another image in its place
    assert main([*check, str(keys / "attest.pub")]) == 1
    shutil.rmtree(signed / "image")  # and none: files can be checked without it
    assert main([*check, str(keys / "attest.pub")]) == 0

    (wheel,) = signed.glob("*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"x")
    capsys.readouterr()
    assert main([*check, str(keys / "attest.pub")]) == 1
    assert "SHA256SUMS says" in capsys.readouterr().err
    sums = signed / "SHA256SUMS"
    sums.write_text("")
    assert main([*check, str(keys / "attest.pub")]) == 1


def test_what_was_changed_after_the_build_is_not_signed(
    released: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = keys / "changed"
    for name, content in bytes_of(released).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content + (b"x" if name.endswith(".whl") else b""))
    arguments = ["sign", str(folder), "--key", str(keys / "sign.key"), "--attest-key", str(keys / "attest.key")]
    assert main(arguments) == 1
    assert "it was changed since it was built" in capsys.readouterr().err
    assert not (folder / "provenance.sigstore.json").exists()


@pytest.mark.parametrize(
    ("more", "status", "says"),
    [
        (["--version", "9.9.9"], 2, "and not 9.9.9"),
        (["--revision", "no-such-commit"], 2, "git log failed"),
        (["--base-lock", str(Path(__file__).parents[2] / "scripts/release/locks/base.json")], 2, "and the lock names"),
        (["--image", "ghcr.io/acme/modelcar"], 2, "which the shim gates"),
    ],
)
def test_what_cannot_be_released(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], status: int, says: str
) -> None:
    assert build(parts, tmp_path / "out", *more) == status
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
