"""One model in one embedded registry for all tests of a run, and engines that start when a test asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.e2e.support.bases import HERE, OTHER, write_base
from tests.e2e.support.commands import Modelcar, run
from tests.e2e.support.containerd import Containerd, containerd
from tests.e2e.support.podman import Podman, podman
from tests.e2e.support.registries import docker_registry, embedded_registry
from tests.support.checkpoints import files_of, make_checkpoint

SIZE = 3 * 16_000_000  # bytes of weights in the model of `repositories`


@dataclass(frozen=True, kw_only=True)
class Published:
    """An image of a checkpoint, in the embedded registry and nowhere else that engines look."""

    folder: Path
    ref: str
    digest: str

    @property
    def files(self) -> dict[str, bytes]:
        return files_of(self.folder)


@pytest.fixture(scope="session")
def workspace() -> Iterator[Path]:
    """A folder with a short name, for sockets, that any user may enter, for containers."""
    with TemporaryDirectory(prefix="mc-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def modelcar(workspace: Path) -> Modelcar:
    return Modelcar(workspace / "home")


@pytest.fixture(scope="session")
def embedded(workspace: Path) -> Iterator[str]:
    with embedded_registry(workspace / "embedded") as address:
        yield address


@pytest.fixture(scope="session")
def debian_registry(workspace: Path) -> Iterator[str]:
    with docker_registry(workspace / "distribution") as address:
        yield address


@pytest.fixture(scope="session")
def repositories(workspace: Path, modelcar: Modelcar) -> Path:
    """A folder that serves a model of `SIZE` as `org/model:v1`."""
    folder = workspace / "repositories"
    checkpoint = make_checkpoint(workspace / "large-checkpoint", elements=SIZE // 6, seed="large")
    with embedded_registry(folder) as registry:
        ref = f"{registry}/org/model:v1"
        modelcar("build", checkpoint, "-t", ref)
        modelcar("push", ref)
    return folder / "root"


@pytest.fixture(scope="session")
def checkpoint(workspace: Path) -> Path:
    """Three shards of 1 MB, small files, a folder."""
    return make_checkpoint(workspace / "checkpoint", elements=500_000)


@pytest.fixture(scope="session")
def model(checkpoint: Path, modelcar: Modelcar, embedded: str) -> Published:
    """The checkpoint as people package it by default, pushed as `:v1`."""
    ref = f"{embedded}/acme/tiny:v1"
    built = modelcar("build", checkpoint, "-t", ref)
    modelcar("push", ref)
    return Published(folder=checkpoint, ref=ref, digest=built["digest"])


@pytest.fixture(scope="session")
def containerd_daemon(workspace: Path) -> Iterator[Containerd]:
    with containerd(workspace / "containerd") as engine:
        yield engine


@pytest.fixture
def containerd_engine(containerd_daemon: Containerd) -> Iterator[Containerd]:
    """The daemon, emptied after every test."""
    yield containerd_daemon
    containerd_daemon.clear()


@pytest.fixture(scope="session")
def podman_engine(workspace: Path) -> Iterator[Podman]:
    with podman(workspace / "podman") as engine:
        yield engine


@pytest.fixture(scope="session")
def busybox(workspace: Path, embedded: str) -> str:
    """A reference to busybox for two architectures, of which only this machine's is real."""
    layout = write_base(workspace / "busybox", HERE, OTHER)
    ref = f"{embedded}/library/busybox:latest"
    run("skopeo", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", f"oci:{layout}", f"docker://{ref}")
    return ref
