"""s3:// through the commands, against an S3 server in another process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.store.disk import lock
from tests.support.checkpoints import files_of
from tests.support.objects import SECRET, Door, ObjectServer, object_server, open_door
from tests.unit.cli.conftest import ModelcarCli

pytestmark = pytest.mark.slow

SOURCE = "s3://models/llm/v1"
WEIGHTS = ".safetensors"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[ObjectServer]:
    with object_server(tmp_path_factory.mktemp("objects")) as server:
        server.make_bucket("models")
        server.put_all("models/llm/v1", files_of(checkpoint))
        yield server


@pytest.fixture
def door(server: ObjectServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MODELCAR_OBJECTS_CACHE", str(tmp_path / "cache"))
    with open_door(server) as door:
        for name, value in server.environment(door.address).items():
            monkeypatch.setenv(name, value)
        yield door


def test_a_plan_reads_no_weights(modelcar: ModelcarCli, door: Door, checkpoint: Path) -> None:
    plan, local = modelcar.json("plan", SOURCE), modelcar.json("plan", checkpoint)
    assert [layer["files"] for layer in plan["layers"]] == [layer["files"] for layer in local["layers"]]
    assert door.sent_of(WEIGHTS) < 3 * 2048


@pytest.mark.parametrize("options", [[], ["--no-cache"]], ids=["cache", "no-cache"])
def test_a_build_is_that_of_the_folder(
    modelcar: ModelcarCli, door: Door, checkpoint: Path, ref: str, tmp_path: Path, options: list[str]
) -> None:
    pushed = modelcar.json("build", SOURCE, "-t", ref, "--push", *options)
    modelcar("pull", ref, "-o", tmp_path / "copy", "-q")
    assert files_of(tmp_path / "copy") == files_of(checkpoint)
    assert modelcar.json("build", checkpoint, "-t", "acme/local:v1")["digest"] == pushed["digest"]
    door.asked.clear()
    assert modelcar.json("build", SOURCE, "-t", ref, "--push", *options)["digest"] == pushed["digest"]
    if not options:
        assert door.sent_of(WEIGHTS) < 3 * 2048, "heads at most"


def test_diff_scan_and_convert(modelcar: ModelcarCli, door: Door, checkpoint: Path, tmp_path: Path) -> None:
    status, out, _ = modelcar.run("diff", SOURCE, checkpoint)
    assert status == 1, "a store knows no digests, and weights are not read"
    assert "model-00001-of-00003.safetensors" in out
    assert modelcar.json("scan", SOURCE)["verdict"] == "clean"
    modelcar("convert", SOURCE, "-o", tmp_path / "converted", "--max-shard-size", "1MB", "-q")
    assert (tmp_path / "converted" / "config.json").read_bytes() == (checkpoint / "config.json").read_bytes()


def test_refusals_are_one_line(modelcar: ModelcarCli, door: Door) -> None:
    assert "no bucket s3://nowhere" in modelcar.refusal(2, "build", "s3://nowhere/x", "-t", "acme/x:v1").line
    assert "nothing at" in modelcar.refusal(2, "plan", "s3://models/none").line
    credentials = modelcar.refusal(2, "plan", f"s3://key:{SECRET}@models/llm")
    assert SECRET not in credentials.line + credentials.hint
    assert modelcar.json("list") == []


def objects_in(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file() and ".homes" not in path.parts]


def test_gc_removes_objects_that_no_image_uses(
    modelcar: ModelcarCli, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    modelcar("build", SOURCE, "-t", "acme/x:v1", "-q")
    assert modelcar.json("gc", "--objects")["objects"] == {"files": 0, "freed": 0}
    there = objects_in(cache)
    assert there
    monkeypatch.setenv("MODELCAR_HOME", str(tmp_path / "another"))  # another home, which uses the same
    modelcar("build", SOURCE, "-t", "acme/y:v1", "-q")
    modelcar("rm", "acme/y:v1")
    assert modelcar.json("gc", "--objects")["objects"]["files"] == 0, "the first one's image uses them"
    assert objects_in(cache) == there
    monkeypatch.setenv("MODELCAR_HOME", str(modelcar.home))
    modelcar("rm", "acme/x:v1")
    planned = modelcar.json("gc", "--objects", "--dry-run")["objects"]
    assert planned["files"] == len(there)
    assert objects_in(cache) == there
    assert modelcar("gc", "--objects").splitlines()[-1].startswith(f"removed {len(there)} objects from the cache, ")
    assert objects_in(cache) == []
    assert modelcar.json("gc", "--objects")["objects"]["files"] == 0


def test_gc_leaves_objects_alone_that_somebody_brings(modelcar: ModelcarCli, door: Door, tmp_path: Path) -> None:
    modelcar("build", SOURCE, "-t", "acme/x:v1", "-q")
    modelcar("rm", "acme/x:v1")
    there = objects_in(tmp_path / "cache")
    (tmp_path / "cache" / "s3" / "models" / "somebody-elses").write_text("not noted by this store")
    with lock(tmp_path / "cache" / ".homes" / "lock", exclusive=False):
        assert "in use" in modelcar.refusal(3, "gc", "--objects").line
    assert set(there) < set(objects_in(tmp_path / "cache"))
    modelcar("gc", "--objects", "-q")
    assert [path.name for path in objects_in(tmp_path / "cache")] == ["somebody-elses"]
