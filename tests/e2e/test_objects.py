"""From a real S3 server, which checks signatures, to a registry, over processes and a kill in their midst."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.checkpoint.objects.names import parse_location
from modelcar.checkpoint.objects.stores import open_store
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.registries import embedded_registry
from tests.e2e.support.relay import Relay
from tests.support.checkpoints import files_of, make_checkpoint
from tests.support.versity import gateway
from tests.support.waiting import eventually

pytestmark = pytest.mark.conformance
SOURCE = "s3://models/llm/v1"
SHARDS = 8  # of 64 MiB: sixteen pieces of 1 MiB are under way, 3 %


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "model", shards=SHARDS, elements=32 << 20)


@pytest.fixture
def modelcar(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Modelcar]:
    import obstore

    with gateway(tmp_path, "models") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        store = open_store(parse_location("s3://models"))
        for path, content in files_of(checkpoint).items():
            obstore.put(store, f"llm/v1/{path}", content)
        modelcar = Modelcar(tmp_path / "home")
        modelcar.environment |= {**environment, "MODELCAR_OBJECTS_CACHE": str(tmp_path / "cache")}
        yield modelcar


def test_to_a_registry_and_back(modelcar: Modelcar, checkpoint: Path, tmp_path: Path) -> None:
    with embedded_registry(tmp_path / "registry") as registry:
        name = f"{registry}/acme/llm:v1"
        assert modelcar("build", SOURCE, "-t", name, "--push")["verdict"] == "clean"
        modelcar("pull", name, "--remote", "-o", tmp_path / "copy")
    assert files_of(tmp_path / "copy") == files_of(checkpoint)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_after_kill_9_the_rest_is_brought(modelcar: Modelcar, checkpoint: Path, tmp_path: Path, share: float) -> None:
    total = sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))
    cache = tmp_path / "cache"
    with Relay(modelcar.environment["AWS_ENDPOINT_URL"].removeprefix("http://")) as line:
        line.rate = 50e6  # slow enough to be met at its work on a busy machine
        modelcar.environment["AWS_ENDPOINT_URL"] = f"http://{line.address}"
        process = modelcar.start("build", SOURCE, "-t", "acme/llm:v1")
        eventually(lambda: line.passed >= share * total or process.poll() is not None, "so much of it has come")
        process.kill()
        process.communicate()
        assert process.returncode == -9, "it was still at work"
        assert modelcar("list") == []
        line.passed = 0
        line.rate = None
        built = modelcar("build", SOURCE, "-t", "acme/llm:v1")
        assert line.passed <= (1 - share + 0.05) * total
        assert built["digest"] == modelcar("build", checkpoint, "-t", "acme/local:v1")["digest"]
        assert not list(cache.rglob("*.incomplete*"))
        line.passed = 0
        modelcar("build", SOURCE, "-t", "acme/llm:v1")
        assert line.passed < 1 << 20, "nothing has changed"


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_keys(modelcar: Modelcar, name: str) -> None:
    modelcar.environment[name] = "wrong"
    assert "refuses s3://models/llm/v1 to these credentials" in modelcar.refusal(3, "plan", SOURCE)
