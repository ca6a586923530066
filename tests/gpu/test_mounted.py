"""From an image to a real device: through the registry client, and through a mount."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from modelcar import load
from modelcar.registry import ClientSettings
from tests.bench.servers import embedded_registry
from tests.support.weights import safetensors_bytes

BIN: Final = Path(sys.executable).parent


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    rng, folder = random.Random(9), tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for shard in (1, 2):
        tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {
            f"w{shard}.{i}": ("U8", (n,), rng.randbytes(n)) for i, n in enumerate((5 << 20, 3, 40_000_001))
        }
        (folder / f"model-{shard:05}-of-00002.safetensors").write_bytes(safetensors_bytes(tensors))
    return folder


@pytest.fixture
def image(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MODELCAR_HOME", str(tmp_path / "store"))
    with embedded_registry(tmp_path, BIN / "registry-shim") as server:
        ref = f"{server.address}/org/model:v1"
        subprocess.run([BIN / "modelcar", "build", checkpoint, "-t", ref, "--push", "--quiet"], check=True)
        yield ref


def check(torch: Any, loaded: dict[str, Any], checkpoint: Path) -> None:
    expected = load(checkpoint, framework="torch")
    assert loaded.keys() == expected.keys()
    for name, tensor in loaded.items():
        assert tensor.is_cuda
        assert torch.equal(tensor.cpu(), expected[name]), name


def test_from_a_registry(torch: Any, image: str, checkpoint: Path) -> None:
    check(torch, load(image, device="cuda", settings=ClientSettings(plain_http=True)), checkpoint)


@pytest.mark.parametrize("front", ["fuse", "erofs"])
def test_from_a_mount(torch: Any, image: str, checkpoint: Path, tmp_path: Path, front: str) -> None:
    folder = tmp_path / "mount"
    command: list[str | Path] = [BIN / "modelcar", "mount", image, folder, "--kernel-mount", front, "--quiet"]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no {front} mount on this machine: {mounted.stderr.strip()}")
    try:
        check(torch, load(folder, device="cuda"), checkpoint)
    finally:
        subprocess.run([BIN / "modelcar", "umount", folder], check=True)
