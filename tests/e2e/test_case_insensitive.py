"""Files that differ in case alone, pulled onto a file system that ignores case: one clear line, and nothing is lost."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.checkpoint.names import Collisions
from modelcar.errors import UsageError
from modelcar.oci import Descriptor, Manifest, media_types
from modelcar.packaging.base import DEFAULT_PLATFORMS, holder_base
from modelcar.packaging.build import build_image
from modelcar.packaging.unpack import unpack_model
from modelcar.store import LocalStore
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.registries import embedded_registry
from tests.support.architectures import llama, write_checkpoint
from tests.support.checkpoints import files_of
from tests.support.skips import unavailable
from tests.support.tars import make_tar

pytestmark = [pytest.mark.root, pytest.mark.debian("mkntfs", "lowntfs-3g", "umount")]
MIB = 1 << 20


@pytest.fixture
def insensitive(tmp_path: Path) -> Iterator[Path]:
    """NTFS: the one file system of this kind that needs no module of the kernel but FUSE's."""
    image, place = tmp_path / "disk", tmp_path / "ntfs"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    subprocess.run(["mkntfs", "-q", "-F", image], check=True, capture_output=True)
    if subprocess.run(["lowntfs-3g", "-o", "ignore_case,umask=022", image, place], capture_output=True).returncode != 0:
        unavailable("needs FUSE and loop devices")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    write_checkpoint(folder, llama(layers=2, vocabulary=256), shards=2)
    (folder / "NOTES.txt").write_text("the first\n")
    (folder / "notes.txt").write_text("the second\n")
    return folder


@pytest.fixture
def name(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An image with both files in a registry: `build` refuses them, other tools do not."""
    monkeypatch.setattr(Collisions, "add", lambda *_: None)
    store = LocalStore(tmp_path / "home")
    with store.session():
        image = build_image(open_checkpoint(str(model)), store, [holder_base(p) for p in DEFAULT_PLATFORMS])
        store.names.put("localhost/acme/tiny:v1", image.index)
    with embedded_registry(tmp_path / "registry") as address:
        target = f"{address}/acme/tiny:v1"
        Modelcar(tmp_path / "home")("push", "localhost/acme/tiny:v1", target)
        yield target


def test_pull(name: str, model: Path, insensitive: Path, tmp_path: Path) -> None:
    modelcar, pull = Modelcar(tmp_path / "other"), ["pull", name, "-o"]
    line = modelcar.refusal(2, *pull, insensitive / "out")
    assert "are one file here: this file system ignores case" in line
    assert "'NOTES.txt'" in line
    assert "'notes.txt'" in line
    assert list(insensitive.iterdir()) == []
    modelcar(*pull, tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(model)


def test_pull_of_ranks(name: str, model: Path, insensitive: Path, tmp_path: Path) -> None:
    """Whose files are written in ranges, and in another order."""
    modelcar, pull = Modelcar(tmp_path / "other"), ["pull", name, "--tp", "2", "--rank", "0", "-o"]
    line = modelcar.refusal(2, *pull, insensitive / "out")
    assert "are one file here: this file system ignores case" in line
    assert "'NOTES.txt'" in line
    assert "'notes.txt'" in line
    assert list(insensitive.iterdir()) == []
    modelcar(*pull, tmp_path / "out")
    written = files_of(tmp_path / "out")
    assert {written[path] for path in ("NOTES.txt", "notes.txt")} == {b"the first\n", b"the second\n"}


def test_another_tools_image(insensitive: Path, tmp_path: Path) -> None:
    layer = make_tar({"models/Config.json": b"{}", "models/config.json": b"[]"})
    descriptor = Descriptor.of(media_types.LAYER_TAR, layer)
    manifest = Manifest(config=Descriptor.of(media_types.CONFIG, b"{}"), layers=(descriptor,))

    @contextmanager
    def opened(_: Descriptor) -> Iterator[io.BytesIO]:
        yield io.BytesIO(layer)

    with pytest.raises(UsageError, match=r"'Config.json' and 'config.json' of the image are one file here"):
        unpack_model(manifest, opened, insensitive / "out")
    assert list(insensitive.iterdir()) == []
    unpack_model(manifest, opened, tmp_path / "out")
    assert files_of(tmp_path / "out") == {"Config.json": b"{}", "config.json": b"[]"}
