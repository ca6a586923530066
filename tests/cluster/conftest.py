"""One real API server for all tests of a run, with everything installed that `modelcar manifests` prints."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from tests.cluster.support.images import Model, publish_model
from tests.cluster.support.namespaces import make_namespace
from tests.cluster.support.service import service
from tests.cluster.support.webhook import Webhook, install
from tests.e2e.support.registries import embedded_registry
from tests.support.kubernetes import Kubernetes, kubernetes, programs
from tests.support.skips import unavailable


@pytest.fixture(scope="session")
def workspace() -> Iterator[Path]:
    """A folder with a short name, for sockets."""
    with TemporaryDirectory(prefix="mc-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def built() -> None:
    """The programs of a cluster are there."""
    try:
        programs()
    except (OSError, subprocess.CalledProcessError) as e:
        unavailable(f"kube-apiserver cannot be built: {e}")


@pytest.fixture(scope="session")
def cluster(workspace: Path, built: None) -> Iterator[Kubernetes]:
    with kubernetes(workspace / "kubernetes") as running:
        yield running


@pytest.fixture(scope="session")
def registry(workspace: Path) -> Iterator[str]:
    with embedded_registry(workspace / "registry") as address:
        yield address


@pytest.fixture(scope="session")
def model(workspace: Path, registry: str) -> Model:
    return publish_model(workspace / "model", f"{registry}/acme/llm:v1")


@pytest.fixture(scope="session")
def webhook(cluster: Kubernetes, workspace: Path) -> Iterator[Webhook]:
    """Installed, and not running."""
    with service() as address:
        yield install(cluster, workspace / "webhook", address)


@pytest.fixture
def namespace(cluster: Kubernetes) -> Iterator[str]:
    """One of the test's own."""
    name = make_namespace(cluster, f"test-{uuid4().hex[:8]}")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
