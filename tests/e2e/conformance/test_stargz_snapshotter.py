"""stargz-snapshotter itself, under containerd: weights are mounted and not fetched, and read back byte for byte."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.support.commands import Modelcar, run, serving
from tests.e2e.support.cri import CriClient, cri_engine
from tests.e2e.support.mounts import unmount_below
from tests.e2e.support.registries import manifest_bytes
from tests.support.checkpoints import files_of, make_checkpoint
from tests.support.engines.programs import Unbuildable, build_stargz
from tests.support.skips import unavailable
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.root,
    pytest.mark.debian("containerd", "ctr", "runc", "docker-registry"),
]

PLUGIN = """
[proxy_plugins.stargz]
  type = "snapshot"
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "stargz"
  disable_snapshot_annotations = false
"""
# Digests of all files below a folder, by another process: one that waits for the network in the kernel can be killed.
DIGESTS = """
import hashlib, json, pathlib, sys
root = pathlib.Path(sys.argv[1])
files = [p for p in root.rglob("*") if p.is_file()]
print(json.dumps({str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}))
"""


@pytest.fixture(scope="module")
def daemon() -> Path:
    try:
        return build_stargz()
    except Unbuildable as e:
        unavailable(str(e))


@contextmanager
def snapshotter(folder: Path, daemon: Path, registry: str) -> Iterator[Path]:
    """Runs in `folder`; yields its socket."""
    folder.mkdir()
    socket, config = folder / "socket", folder / "config.toml"
    mirror = f'[[resolver.host."{registry}".mirrors]]\nhost = "{registry}"\ninsecure = true\n'
    config.write_text(f"disable_verification = false\n{mirror}")
    options = ("--address", socket, "--root", folder / "root", "--config", config, "--log-level", "debug")
    try:
        with serving(folder / "log", daemon, *options) as process:
            eventually(lambda: socket.exists() or process.poll() is not None, "stargz-snapshotter starts")
            assert process.poll() is None, (folder / "log").read_text()
            yield socket
    finally:
        unmount_below(folder)


@contextmanager
def engine(folder: Path, socket: Path, registry: str) -> Iterator[CriClient]:
    hosts = folder / "certs.d" / registry
    hosts.mkdir(parents=True)
    (hosts / "hosts.toml").write_text(f'server = "http://{registry}"\n')
    with cri_engine(folder, "unused", more=PLUGIN.format(socket=socket)) as cri:
        yield cri


def ctr(folder: Path, *arguments: str | Path, check: bool = True) -> str:
    return run("ctr", "--address", folder / "socket", "--namespace", "k8s.io", *arguments, check=check).stdout


def weights_of(ref: str) -> set[str]:
    entry = json.loads(manifest_bytes(ref))["manifests"][0]
    manifest = json.loads(manifest_bytes(f"{ref.rpartition(':')[0]}@{entry['digest']}"))
    return {each["digest"] for each in manifest["layers"] if each["annotations"]["dev.modelcar.layer"] == "weights"}


def test_weights_are_mounted_and_not_fetched(
    workspace: Path, modelcar: Modelcar, debian_registry: str, daemon: Path
) -> None:
    checkpoint = make_checkpoint(workspace / "stargz-checkpoint", shards=2, elements=6_000_000)
    ref = f"{debian_registry}/acme/stargz:v1"
    modelcar("build", checkpoint, "-t", ref, "--estargz", "--push")
    folder = workspace / "sg-engine"
    with (
        snapshotter(workspace / "sg", daemon, debian_registry) as socket,
        engine(folder, socket, debian_registry) as cri,
    ):
        cri.pull(ref)
        assert not weights_of(ref) & set(ctr(folder, "content", "list", "--quiet").split())
        verified = [line for line in (workspace / "sg" / "log").read_text().splitlines() if '"msg":"verified"' in line]
        assert len(verified) == 2  # tables, against the annotations of the manifest
        options = ("--snapshotter", "stargz", "--runc-root", folder / "runc")
        ctr(folder, "run", "--detach", *options, ref, "holder", "/.modelcar/holder", "hold")
        try:
            root = Path(f"/proc/{ctr(folder, 'task', 'list').splitlines()[1].split()[1]}/root")
            done = subprocess.run(
                [sys.executable, "-c", DIGESTS, root / "models"], capture_output=True, check=True, timeout=60
            )
            found = json.loads(done.stdout)
            assert found == {path: hashlib.sha256(data).hexdigest() for path, data in files_of(checkpoint).items()}
            assert not [path for path in root.iterdir() if "stargz" in path.name or "landmark" in path.name]
        finally:
            ctr(folder, "task", "kill", "--signal", "SIGKILL", "holder", check=False)
            eventually(lambda: "RUNNING" not in ctr(folder, "task", "list"), "the container ends")
            ctr(folder, "task", "delete", "--force", "holder", check=False)
            ctr(folder, "container", "delete", "holder", check=False)
