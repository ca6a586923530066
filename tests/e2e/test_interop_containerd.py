"""containerd pulls the image with `ctr`, runs the holder as the image's user, and never takes the ModelPack entry."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.e2e.conftest import Published
from tests.e2e.support.bases import HERE, OTHER
from tests.e2e.support.containerd import Container, Containerd
from tests.e2e.support.registries import get, manifest_bytes
from tests.support.checkpoints import files_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.debian("containerd", "ctr", "runc", "skopeo", "busybox")]

SHARDS = [f"model-{i:05}-of-00003.safetensors" for i in (1, 2, 3)]


@pytest.fixture
def engine(containerd_engine: Containerd) -> Containerd:
    return containerd_engine


@pytest.fixture
def volume(workspace: Path) -> Iterator[Path]:
    """An emptyDir."""
    folder = workspace / "volume"
    folder.mkdir()
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def chain_id(ref: str, manifest: str) -> str:
    """The name under which containerd keeps the topmost snapshot of an image (OCI image specification, config.md)."""
    repository = ref.rpartition(":")[0]
    config = json.loads(manifest_bytes(f"{repository}@{manifest}"))["config"]["digest"]
    address, _, name = repository.partition("/")
    diff_ids = json.loads(get(address, f"{name}/blobs/{config}"))["rootfs"]["diff_ids"]
    chain: str = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = f"sha256:{hashlib.sha256(f'{chain} {diff_id}'.encode()).hexdigest()}"
    return chain


def manifests(ref: str) -> dict[str, str]:
    """Architecture to manifest digest."""
    return {e["platform"]["architecture"]: e["digest"] for e in json.loads(manifest_bytes(ref))["manifests"]}


def publish(engine: Containerd, ref: str, volume: Path, *options: str) -> Container:
    mount = f"type=bind,src={volume},dst=/mnt/models,options=rbind:rw"
    command = ["/.modelcar/holder", "publish", "--to", "/mnt/models"]
    container = engine.start(ref, "holder", *command, options=("--mount", mount, *options))
    eventually(lambda: "published" in container.output, "the holder publishes")
    return container


def test_the_default_platform_is_unpacked_and_runs(engine: Containerd, model: Published, volume: Path) -> None:
    engine.pull(model.ref)
    entries = manifests(model.ref)
    assert engine.content() & set(entries.values()) == {entries[HERE]}  # neither the twin nor the other platform
    assert chain_id(model.ref, entries[HERE]) in engine.snapshots()

    holder = publish(engine, model.ref, volume)
    assert holder.output == "holder: /mnt/models: published: /proc/1/root/models\n"
    assert (holder.root / "mnt/models/.modelcar").readlink() == Path("/proc/1/root/models")
    assert files_of(holder.root / "models") == model.files
    for shard in SHARDS:
        with (
            safe_open(holder.root / "models" / shard, framework="numpy") as there,
            safe_open(model.folder / shard, framework="numpy") as here,
        ):
            assert there.keys() == here.keys()
    status = (holder.root.parent / "status").read_text()
    assert "Uid:\t65532\t65532\t65532\t65532\nGid:\t65532\t65532" in status
    assert "CapEff:\t0000000000000000" in status
    assert holder.execute("/.modelcar/holder", "ready", "--to", "/mnt/models").returncode == 0
    assert holder.stop() == 0


def test_all_platforms(engine: Containerd, model: Published, volume: Path) -> None:
    """Everything arrives and every platform is unpacked, so that it can be exported or run.

    `ctr` before 2.0 then tries to unpack unknown/unknown, too, and fails on it, as it does on every image with
    BuildKit's attestations (containerd #8243, #10196); `ctr content fetch` is what its maintainers name instead.
    """
    done = engine.pull(model.ref, "--all-platforms", check=False)
    assert done.returncode == 0 or "mismatched image rootfs and manifest layers" in done.stderr
    entries = manifests(model.ref)
    assert set(entries) == {HERE, OTHER, "unknown"}
    assert set(entries.values()) | {model.digest} <= engine.content()
    assert {chain_id(model.ref, entries[a]) for a in (HERE, OTHER)} <= engine.snapshots()
    holder = publish(engine, model.ref, volume)
    assert files_of(holder.root / "models") == model.files
    assert holder.stop() == 0


def test_content_fetch_takes_everything(engine: Containerd, model: Published) -> None:
    engine.ctr("content", "fetch", "--plain-http", "--all-platforms", model.ref)
    assert set(manifests(model.ref).values()) | {model.digest} <= engine.content()


def test_a_platform_that_is_not_there_is_refused(engine: Containerd, model: Published) -> None:
    """And not served with the ModelPack entry, which would be chosen if it had no platform."""
    done = engine.pull(model.ref, "--platform", "linux/s390x", check=False)
    assert done.returncode != 0
    assert manifests(model.ref)["unknown"] not in engine.content()
    assert engine.snapshots() == set()


def test_containers_that_share_a_process_namespace(
    engine: Containerd, model: Published, busybox: str, volume: Path
) -> None:
    engine.pull(model.ref)
    engine.pull(busybox)
    pause = engine.start(busybox, "pause", "/bin/sleep", "600")
    namespace = f"pid:/proc/{pause.pid}/ns/pid"
    holder = publish(engine, model.ref, volume, "--with-ns", namespace)
    assert "/proc/1/" not in holder.output
    mount = f"type=bind,src={volume},dst=/mnt/models,options=rbind:ro"
    options = ("--mount", mount, "--with-ns", namespace)
    server = engine.start(busybox, "server", "/bin/sleep", "600", options=options)
    files = [f"/mnt/models/{name}" for name in sorted(model.files)]
    read = server.execute("/bin/sha256sum", *files)
    assert read.stdout.split()[::2] == [hashlib.sha256(model.files[name]).hexdigest() for name in sorted(model.files)]
    for stranger in ("1000:65532", "65532:1000", "1000:1000"):
        refused = server.execute("/bin/cat", files[0], user=stranger)
        assert refused.returncode != 0
        assert "Permission denied" in refused.stderr
    assert holder.stop() == 0
