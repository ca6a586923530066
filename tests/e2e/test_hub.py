"""From a hub to a registry over real processes: kills in their midst, and a disk that is smaller than the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.testing.registry import running
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.mounts import tmpfs
from tests.e2e.support.registries import embedded_registry
from tests.support.checkpoints import files_of
from tests.support.hub import FakeHub, Repo
from tests.support.waiting import eventually
from tests.support.weights import safetensors_bytes

SHARDS = 6
SHARD = 16 << 20
TOTAL = SHARDS * SHARD
UNDER_WAY = 8 << 20  # bytes: six pieces of 1 MiB that the hub had sent, and headers; of a large model it is nothing
LARGE = 480 << 20  # bytes, where what is under way is to be little
LINE = 20e6  # bytes a second
SOURCE = "hf://org/name"
WEIGHTS = ".safetensors"


@pytest.fixture(scope="module")
def model() -> dict[str, bytes]:
    shards = {
        f"model-{n:05}-of-{SHARDS:05}.safetensors": safetensors_bytes(
            {f"layer.{n}": ("U8", (SHARD,), bytes([n, n ^ 85]) * (SHARD // 2))}
        )
        for n in range(1, SHARDS + 1)
    }
    return {**shards, "config.json": b'{"model_type": "llama"}'}


@pytest.fixture
def hub(model: dict[str, bytes]) -> Iterator[FakeHub]:
    with FakeHub(rate=25e6) as hub:  # slow enough to be met at its work on a busy machine
        hub.repos["org/name"] = Repo(dict(model))
        yield hub


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with embedded_registry(tmp_path / "registry") as address:
        yield address


def commands(home: Path, hub: FakeHub, cache: Path) -> Modelcar:
    modelcar = Modelcar(home)
    modelcar.environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(cache), "HF_TOKEN": ""}
    return modelcar


@pytest.mark.parametrize("share", [0.17, 0.5, 0.83])
def test_after_kill_9_the_rest_is_brought_and_sent(
    hub: FakeHub, registry: str, model: dict[str, bytes], tmp_path: Path, share: float
) -> None:
    """Weights leave while they arrive: what had gone either way by the kill does not go again."""
    modelcar = commands(tmp_path / "home", hub, tmp_path / "cache")
    build = ("build", SOURCE, "-t", f"{registry}/acme/killed:v1", "--push")
    process = modelcar.start(*build)
    eventually(lambda: hub.sent_of(WEIGHTS) >= share * TOTAL or process.poll() is not None, "so much of it has come")
    process.kill()
    process.communicate()
    assert process.returncode == -9, "it was still at work"
    assert modelcar("list") == []
    hub.sent.clear()
    had = sum(path.stat().st_size for path in (tmp_path / "registry").rglob("*") if path.is_file())
    built = modelcar(*build)
    assert built["verdict"] == "clean"
    assert hub.sent_of(WEIGHTS) <= (1 - share) * TOTAL + UNDER_WAY
    assert built["sent"] <= TOTAL - had + UNDER_WAY
    assert modelcar(*build)["sent"] < UNDER_WAY, "and all of it is there"
    modelcar("pull", f"{registry}/acme/killed:v1", "--remote", "-o", tmp_path / "copy")
    assert files_of(tmp_path / "copy") == model


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--no-cache"]], ids=["cached", "streamed"])
def test_after_kill_9_halfway_hardly_more_than_the_other_half_moves(tmp_path: Path, options: list[str]) -> None:
    """Lines shaped alike: at most 55 % go again, either way. What leaves is seconds behind what comes, no more."""
    with FakeHub(rate=LINE) as hub, running("distribution", rate=LINE) as registry:
        hub.repos["org/name"] = Repo({"config.json": b'{"model_type": "llama"}', **large_shards(tmp_path / "large")})
        modelcar = commands(tmp_path / "home", hub, tmp_path / "cache")
        name = f"{registry.address}/acme/halved:v1"
        build = ("build", SOURCE, "-t", name, "--push", *options)
        process = modelcar.start(*build)
        eventually(
            lambda: hub.sent_of(WEIGHTS) >= LARGE // 2 or process.poll() is not None, "half has come", within=120
        )
        process.kill()
        process.communicate()
        assert process.returncode == -9, "it was still at work"
        hub.sent.clear()
        registry.reset_counts()
        built = modelcar(*build)
        print(f"again: {hub.sent_of(WEIGHTS) / LARGE:.1%} came, {registry.counts().received / LARGE:.1%} went")
        assert built["verdict"] == "clean"
        assert hub.sent_of(WEIGHTS) <= 0.55 * LARGE
        assert registry.counts().received <= 0.55 * LARGE


def large_shards(folder: Path) -> dict[str, bytes | Path]:
    """Weights of `LARGE` bytes in files."""
    folder.mkdir()
    shards: dict[str, bytes | Path] = {}
    for n in range(1, SHARDS + 1):
        path = folder / f"model-{n:05}-of-{SHARDS:05}.safetensors"
        content = bytes([n, n ^ 85]) * (LARGE // SHARDS // 2)
        path.write_bytes(safetensors_bytes({f"layer.{n}": ("U8", (len(content),), content)}))
        shards[path.name] = path
    return shards


@pytest.mark.slow
@pytest.mark.root
def test_a_model_larger_than_the_disk(hub: FakeHub, registry: str, model: dict[str, bytes], tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", int(2.5 * SHARD)) as disk:
        modelcar = commands(disk / "home", hub, disk / "cache")
        name = f"{registry}/acme/large:v1"
        modelcar("build", SOURCE, "-t", name, "--push", "--no-cache")
        assert sum(path.stat().st_size for path in disk.rglob("*") if path.is_file()) < 1 << 20
        refusal = modelcar.refusal(3, "build", SOURCE, "-t", f"{registry}/acme/other:v1", "--push", "-q")
        assert "disk" in refusal or "space" in refusal
    elsewhere = commands(tmp_path / "home", hub, tmp_path / "cache")
    elsewhere("pull", name, "--remote", "-o", tmp_path / "copy")
    assert files_of(tmp_path / "copy") == model
    assert elsewhere("verify", name, "--source")["source"]["repo"] == "org/name"
