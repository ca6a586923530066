"""podman pulls the image from the embedded registry and runs it; other containers of its pod read the weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Published
from tests.e2e.support.bases import HERE, write_base
from tests.e2e.support.commands import Modelcar, run
from tests.e2e.support.podman import Podman
from tests.e2e.support.registries import manifest_bytes
from tests.support.checkpoints import files_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.debian("podman", "runc", "buildah", "busybox", "skopeo")]

SHARD = "model-00001-of-00003.safetensors"


@pytest.fixture
def engine(podman_engine: Podman, model: Published) -> Iterator[Podman]:
    podman_engine.pull(model.ref)
    yield podman_engine
    podman_engine.clear()


@pytest.fixture
def pod(engine: Podman, busybox: str) -> str:
    """A pod with one process namespace and a volume `shared` at /mnt/models, as Kubernetes would make it."""
    engine.pull(busybox)
    infra = ["--infra-image", busybox, "--infra-command", "/bin/sleep 600"]
    return engine("pod", "create", "--share", "pid", "--network", "none", *infra).stdout.strip()


def published(engine: Podman, container: str) -> str:
    """The line with which the holder says that it has published."""
    eventually(lambda: "published" in engine("logs", container).stdout, "the holder publishes")
    return engine("logs", container).stdout


def test_the_holder_runs_publishes_and_ends(engine: Podman, model: Published) -> None:
    holder = engine.start("--volume", "shared:/mnt/models", model.ref, "publish", "--to", "/mnt/models")
    assert published(engine, holder) == "holder: /mnt/models: published: /proc/1/root/models\n"
    assert files_of(engine.root(holder) / "models") == model.files
    status = (engine.root(holder).parent / "status").read_text()
    assert "Uid:\t65532\t65532\t65532\t65532\nGid:\t65532" in status
    assert "CapEff:\t0000000000000000" in status
    ready = engine("exec", holder, "/.modelcar/holder", "ready", "--to", "/mnt/models")
    assert (ready.stdout, ready.stderr) == ("", "")
    assert engine.stop(holder) == 0


def test_without_arguments_it_holds(engine: Podman, model: Published) -> None:
    holder = engine.start(model.ref)
    assert files_of(engine.root(holder) / "models") == model.files
    assert engine("exec", holder, "/.modelcar/holder", "version").stdout.startswith("modelcar-holder 1\n")
    assert engine.stop(holder) == 0


def test_another_container_of_the_pod_reads_the_weights(
    engine: Podman, model: Published, busybox: str, pod: str
) -> None:
    shared = ["--pod", pod, "--volume", "shared:/mnt/models"]
    holder = engine.start(*shared, model.ref, "publish", "--to", "/mnt/models")
    assert "/proc/1/root" not in published(engine, holder)  # process 1 is the pod's own

    def server(user: str, *command: str) -> tuple[int, str, str]:
        options = [*shared[:-1], "shared:/mnt/models:ro", "--rm", "--user", user, "--cap-drop=all"]
        done = engine.run(*options, busybox, *command, check=False)
        return done.returncode, done.stdout, done.stderr

    names = sorted(model.files)
    status, shown, _ = server("65532:65532", "sha256sum", *(f"/mnt/models/{name}" for name in names))
    assert status == 0
    assert shown.split()[::2] == [hashlib.sha256(model.files[name]).hexdigest() for name in names]
    for stranger in ("1000:65532", "65532:1000", "0:0"):
        status, shown, complaint = server(stranger, "cat", f"/mnt/models/{SHARD}")
        assert (status, shown) == (1, "")
        assert "Permission denied" in complaint
    assert engine.stop(holder) == 0


def test_a_busybox_base_serves_webhooks_that_want_a_shell(
    engine: Podman, model: Published, modelcar: Modelcar, embedded: str, busybox: str, pod: str
) -> None:
    """The commands that KServe's webhook puts into the container and into its init container."""
    ref = f"{embedded}/acme/shell:v1"
    modelcar("build", model.folder, "-t", ref, "--base", busybox, "--push")
    engine.pull(ref)
    check = 'echo "pre-fetching"; [ -d /models ] && [ "$(ls -A /models)" ]'
    assert engine.run("--rm", ref, "sh", "-c", check).stdout == "pre-fetching\n"
    # KServe mounts the parent, makes one link there, and lets both run as the same user.
    shared = ["--pod", pod, "--user=0:0", "--cap-drop=all", "--volume", "parent:/mnt"]
    link = "ln -sf /proc/$$/root/models /mnt/models && sleep 600"
    holder = engine.start(*shared, ref, "sh", "-c", link)
    eventually((engine.root(holder) / "mnt/models").is_symlink, "the link appears")
    listed = engine.run(*shared, "--rm", busybox, "ls", "-A", "/mnt/models/").stdout.split()
    assert sorted(listed) == sorted(path.name for path in model.folder.iterdir())
    read = engine.run(*shared, "--rm", busybox, "sha256sum", f"/mnt/models/{SHARD}").stdout.split()[0]
    assert read == hashlib.sha256(model.files[SHARD]).hexdigest()


def test_a_scratch_image_is_for_mounting(
    engine: Podman, model: Published, modelcar: Modelcar, embedded: str, busybox: str
) -> None:
    ref = f"{embedded}/acme/scratch:v1"
    modelcar("build", model.folder, "-t", ref, "--base", "scratch", "--push")
    engine.pull(ref)
    engine.pull(busybox)
    mounted = Path(engine("image", "mount", ref).stdout.strip())
    try:
        assert files_of(mounted / "models") == model.files
        assert sorted(p.name for p in mounted.iterdir() if p.name not in {"dev", "etc", "proc", "sys", "run"}) == [
            ".modelcar",
            "models",
        ]
    finally:
        engine("image", "unmount", "--all")
    # As a Kubernetes image volume: its root appears at the path.
    volume = f"type=image,source={ref},destination=/mnt"
    shown = engine.run("--rm", "--mount", volume, busybox, "cat", "/mnt/models/config.json")
    assert shown.stdout.encode() == model.files["config.json"]


def test_what_went_through_an_engine_has_another_digest(engine: Podman, model: Published, embedded: str) -> None:
    """What docs/how-to/run-the-image.md says of buildah and podman: even uncompressed, annotations are lost."""
    ref = f"{embedded}/pushed/tiny:v1"
    engine.buildah("push", "--disable-compression", "--tls-verify=false", model.ref, f"docker://{ref}")
    pushed = json.loads(manifest_bytes(ref))
    (entry,) = [e for e in json.loads(manifest_bytes(model.ref))["manifests"] if e["platform"]["architecture"] == HERE]
    original = json.loads(manifest_bytes(f"{model.ref.removesuffix(':v1')}@{entry['digest']}"))
    assert [layer["digest"] for layer in pushed["layers"]] == [layer["digest"] for layer in original["layers"]]
    assert not any("annotations" in layer for layer in pushed["layers"])
    assert pushed != original


def test_pull_takes_an_image_that_buildah_made(
    engine: Podman, model: Published, modelcar: Modelcar, embedded: str, workspace: Path, tmp_path: Path
) -> None:
    """COPY of a folder, a layer that replaces files and deletes others, gzip, Docker's media types."""
    base = write_base(tmp_path / "base", HERE, compress=True)
    first = engine.buildah("from", f"oci:{base}")
    engine.buildah("copy", first, str(model.folder), "/models")
    engine.buildah("copy", first, str(model.folder), "/models/old")
    engine.buildah("commit", "--format", "docker", first, "foreign:1")
    second = engine.buildah("from", "foreign:1")
    root = Path(engine.buildah("mount", second))
    (root / "models/tokenizer.json").unlink()
    (root / "models/config.json").write_text("{}")
    run("rm", "-r", root / "models/old", root / "models/1_Pooling")
    (root / "models/1_Pooling").mkdir()  # an opaque folder, in an overlay
    (root / "models/1_Pooling/new.json").write_text("[]")
    engine.buildah("unmount", second)
    engine.buildah("commit", "--format", "docker", second, "foreign:2")
    ref = f"{embedded}/foreign/tiny:v1"
    engine.buildah("push", "--tls-verify=false", "foreign:2", f"docker://{ref}")
    modelcar("pull", ref, "-o", tmp_path / "copy")
    expected = {**model.files, "config.json": b"{}", "1_Pooling/new.json": b"[]"}
    del expected["tokenizer.json"], expected["1_Pooling/config.json"]
    assert files_of(tmp_path / "copy") == expected
    engine.buildah("rm", "--all")
