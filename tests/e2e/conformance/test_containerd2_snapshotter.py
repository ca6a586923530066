"""containerd 2 from its source with our snapshotter, plugged in by the drop-in of `hosts-toml --snapshotter`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from registry_shim.engines.containerd import CONFIG, ConfigFile
from registry_shim.engines.snapshotter import plug_in
from tests.e2e.conftest import Published
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.cri import PAUSE
from tests.e2e.support.cri_pods import Kubelet
from tests.e2e.support.servers import publish_server
from tests.e2e.support.snapshot_pods import READ, pod, sums
from tests.e2e.support.snapshotters import UNPACKING, Machine, machine
from tests.support.engines.containerd import template
from tests.support.engines.programs import build_containerd
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.root,
    pytest.mark.debian("containerd", "ctr", "runc", "skopeo", "busybox"),
]

IMPORTS = 'imports = ["/etc/containerd/conf.d/*.toml"]\n'
CONFIG_3 = template(
    keys="""
imports = ["{folder}/../conf.d/*.toml"]
""",
    tables="""
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
""",
)


@pytest.fixture(scope="module")
def containerd() -> Path:
    return build_containerd()


@pytest.fixture(scope="module")
def model(checkpoint: Path, modelcar: Modelcar, embedded: str, busybox: str) -> Published:
    ref = f"{embedded}/acme/lazy2:v1"
    built = modelcar("build", checkpoint, "-t", ref, "--base", busybox)
    modelcar("push", ref)
    return Published(folder=checkpoint, ref=ref, digest=built["digest"])


@pytest.fixture
def node(workspace: Path, embedded: str, containerd: Path, tmp_path: Path) -> Iterator[Machine]:
    folder = workspace / f"c-{tmp_path.name[-8:]}"
    pause = publish_server(workspace / "server", f"{embedded}/servers/lazy2:v1", command=tuple(PAUSE), passwd=None)

    def engine(socket: Path) -> dict[str, Any]:
        there = (ConfigFile(path=CONFIG, text=f"version = 3\n{IMPORTS}"),)
        drop_in = plug_in(PurePosixPath(socket), there, (2, 2)).drop_in
        assert drop_in is not None
        (folder / "conf.d").mkdir()
        (folder / "conf.d" / drop_in.path.name).write_bytes(drop_in.content)
        return {"program": containerd, "config": CONFIG_3}

    with machine(folder, pause, UNPACKING, engine) as found:
        yield found


def test_a_pod_reads_weights_that_were_never_fetched_and_its_image_goes(
    node: Machine, model: Published, modelcar: Modelcar
) -> None:
    kubelet = Kubelet(node.cri, node.folder / "pods")
    before = node.snapshots()
    with kubelet.running(pod(model.ref, "sh", "-c", READ)) as running:
        assert running.ended() == "Succeeded"
        assert running.log("server") == sums(model)
    layers = modelcar("inspect", model.ref)["manifests"][0]["layers"]
    weights = {each["digest"] for each in layers if each.get("annotations", {}).get("dev.modelcar.layer") == "weights"}
    assert len(weights) == 3
    assert not weights & node.content()
    assert len(node.images()) == 1
    node.stop_engine()
    node.start_engine()
    node.cri.pull(model.ref)
    assert not weights & node.content()
    node.cri.remove_image(model.ref)
    eventually(lambda: not node.images(), "its mount is gone")
    eventually(lambda: node.snapshots() <= before, "its layers are gone")
