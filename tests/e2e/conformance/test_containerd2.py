"""containerd 2 from its source: it reads the wiring by default or by a drop-in, and its imports share blobs as well."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Published
from tests.e2e.support.mounts import unmount_below
from tests.e2e.support.nodes import Node, check_import, lay_out, pull_by_cri, running_containerd
from tests.e2e.support.shims import Shim, running_shim
from tests.support.engines.programs import build_containerd

pytestmark = [pytest.mark.conformance, pytest.mark.root, pytest.mark.debian("ctr", "runc", "unshare", "podman")]

IMAGES = '[plugins."io.containerd.cri.v1.images"'
CONFIG = f"""version = 3
imports = ["/etc/containerd/conf.d/*.toml"]
{IMAGES}]
max_concurrent_downloads = 7
{IMAGES}.registry]
config_path = ""
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `containerd`."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "containerd").symlink_to(build_containerd())
    return folder


@pytest.fixture
def shim(tmp_path: Path, embedded: str) -> Iterator[Shim]:
    with running_shim(tmp_path, embedded) as found:
        yield found


@pytest.fixture
def machine(workspace: Path, programs: Path) -> Iterator[Node]:
    """A node without any containerd yet."""
    found = Node(workspace / "node2", programs)
    yield found
    unmount_below(found.root)
    shutil.rmtree(found.root)


def wire(machine: Node, shim: Shim, registry: str) -> str:
    arguments = ("--registry", registry, "--shim", shim.url, "--engine", "containerd")
    return machine.shim("hosts-toml", *arguments).stderr


@pytest.mark.parametrize("config", [None, CONFIG], ids=["default", "imports"])
def test_a_drop_in_after_a_restart(
    machine: Node, shim: Shim, model: Published, embedded: str, programs: Path, config: str | None
) -> None:
    lay_out(machine, config)
    containerd = programs / "containerd"
    with running_containerd(machine, containerd):
        assert "restart" in wire(machine, shim, embedded)
        assert pull_by_cri(machine, model.ref).returncode == 0
        assert not shim.has(model.digest)  # it takes the list that is its default for one name
        assert machine.shim("doctor", check=False).returncode == 1
    with running_containerd(machine, containerd):
        assert machine.shim("doctor", check=False).returncode == 0
        assert pull_by_cri(machine, f"{model.ref}@{model.digest}").returncode == 0
        assert shim.has(model.digest)
        shim.stop()
        assert "connection refused" in pull_by_cri(machine, f"{embedded}/library/absent:v1").stderr
    if config is not None:
        assert "max_concurrent_downloads = 7" in machine(containerd, "config", "dump").stdout


def test_an_import_leaves_the_weights_where_they_are(
    machine: Node, shim: Shim, model: Published, embedded: str, programs: Path
) -> None:
    lay_out(machine, CONFIG.replace('""', '"/etc/containerd/certs.d"'))
    with running_containerd(machine, programs / "containerd"):
        assert wire(machine, shim, embedded) == ""
        assert pull_by_cri(machine, model.ref).returncode == 0  # fills the shim
        machine.ctr("image", "remove", "--sync", *machine.ctr("image", "list", "--quiet").stdout.split())
        assert not [path for path in machine.content().rglob("*") if path.is_file() and path.stat().st_size > 500_000]
        check_import(machine, shim, model)
