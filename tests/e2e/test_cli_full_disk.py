"""Disks that fill up at any point: one line, status 3, nothing half-made; with room again the same command works."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.store import Names, OciLayout
from tests.e2e.conftest import Published
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.mounts import tmpfs
from tests.e2e.support.registries import embedded_registry
from tests.support.checkpoints import files_of
from tests.support.images import validate_in

pytestmark = [pytest.mark.slow, pytest.mark.root]

KIB = 1 << 10
DISK = 8 << 20  # bytes; the model has three, an image of it with base and documents hardly more
LEFT = [0, 8 * KIB, 24 * KIB, 64 * KIB, 100 * KIB, 600 * KIB, 1600 * KIB, 2900 * KIB]  # of room, when a command begins


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "disk", DISK) as disk:
        yield disk


@pytest.fixture(params=LEFT, ids=lambda left: f"{left // KIB}kB")
def filled(disk: Path, request: pytest.FixtureRequest) -> Path:
    """A file whose removal makes room."""
    ballast = disk / "ballast"
    status = os.statvfs(disk)
    size = status.f_bavail * status.f_frsize - request.param
    with ballast.open("wb") as f:
        os.posix_fallocate(f.fileno(), 0, size)
    return ballast


def full(modelcar: Modelcar, *command: str | Path) -> bool:
    """Whether there was too little room; every such failure has one form."""
    done = modelcar.run(*command)
    if done.returncode == 0:
        return False
    assert done.returncode == 3, (done.returncode, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert 1 <= len(lines) <= 2, done.stderr
    assert lines[0].startswith("modelcar: "), done.stderr
    assert "No space left on device" in lines[0] or "disk is full" in lines[0] or "507" in lines[0], done.stderr
    assert "damaged" not in lines[0]
    assert re.match("  hint: .*(space|room)", lines[1])
    return True


def test_build(checkpoint: Path, disk: Path, filled: Path) -> None:
    modelcar = Modelcar(disk / "home")
    command: list[str | Path] = ["build", checkpoint, "-t", "acme/tiny:v1"]
    if full(modelcar, *command):
        filled.unlink()
        assert modelcar("list") == []
        modelcar(*command)
    root = modelcar("list")[0]
    assert root["size"]
    modelcar("gc")
    layout = OciLayout(disk / "home" / "store", recipes=True)
    validate_in(layout, Names(layout).get("docker.io/acme/tiny:v1"))


def test_pull(modelcar: Modelcar, model: Published, disk: Path, filled: Path) -> None:
    out = disk / "folder" / "out"
    if full(modelcar, "pull", model.ref, "--remote", "-o", out):
        assert not out.exists()
        filled.unlink()
        modelcar("pull", model.ref, "--remote", "-o", out)
    assert files_of(out) == model.files
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_pull_into_the_store(model: Published, disk: Path, filled: Path) -> None:
    modelcar = Modelcar(disk / "home")
    if full(modelcar, "pull", model.ref):
        filled.unlink()
        assert modelcar("list") == []
        modelcar("pull", model.ref)
    assert [image["digest"] for image in modelcar("list")] == [model.digest]
    assert list((disk / "home" / "store" / "ingest").iterdir()) == []


@pytest.mark.parametrize("verb", ["copy", "export"])
def test_into_a_layout(modelcar: Modelcar, model: Published, disk: Path, filled: Path, verb: str) -> None:
    out = disk / "out"
    command: list[str | Path] = ["export", model.ref, "-o", out]
    if verb == "copy":
        command = ["copy", model.ref, f"oci:{out}:v1"]
    if full(modelcar, *command):
        assert not (out / "oci-layout").exists() or Names(OciLayout(out)).list() == {}
        assert list(out.glob("ingest/*")) == []
        filled.unlink()
        modelcar(*command)
    layout = OciLayout(out)
    assert str(Names(layout).get("v1").digest) == model.digest
    validate_in(layout, Names(layout).get("v1"))


def test_push_to_the_embedded_registry(modelcar: Modelcar, model: Published, disk: Path, filled: Path) -> None:
    size = filled.stat().st_size
    filled.unlink()
    with embedded_registry(disk / "registry") as address:
        with filled.open("wb") as f:
            os.posix_fallocate(f.fileno(), 0, size - 16 * KIB)  # it has taken some room for itself
        ref = f"{address}/acme/tiny:v1"
        if full(modelcar, "push", model.ref, ref):
            assert "404" in modelcar.refusal(3, "inspect", ref, "--remote")
            filled.unlink()
            modelcar("push", model.ref, ref)
        assert modelcar("inspect", ref, "--remote")["digest"] == model.digest
        modelcar("pull", ref, "--remote", "-o", disk / "copy")
        assert files_of(disk / "copy") == model.files
