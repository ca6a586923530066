"""The kernel's rule for `/proc/PID/root`, between real containers of one pod: what the rewriting relies on, row by row.

Each sidecar publishes into a volume of its own; each server opens a file through what it finds there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Published
from tests.e2e.support.cri import PAUSE, cri_engine
from tests.e2e.support.cri_pods import Kubelet, PodFailed, RunningPod
from tests.e2e.support.servers import publish_server
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.debian("containerd", "runc", "skopeo", "busybox")]

DROP_ALL = {"capabilities": {"drop": ["ALL"]}}
ONLY_RAW = {"capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}}
TRACING = {"capabilities": {"add": ["SYS_PTRACE"]}}
USER = {"runAsUser": 1000, "runAsGroup": 1000}

SIDECARS: dict[str, dict[str, Any]] = {
    "1000-1000": {**USER, **DROP_ALL},
    "1000-0": {"runAsUser": 1000, "runAsGroup": 0, **DROP_ALL},
    "1000": {"runAsUser": 1000, **DROP_ALL},
    "1000-1000-default": USER,
    "root": {"runAsUser": 0},
    "root-drop-all": {"runAsUser": 0, **DROP_ALL},
}
ROWS: list[tuple[str, dict[str, Any], bool]] = [
    ("1000-1000", USER, True),
    ("1000-1000-default", USER, True),
    ("1000-1000", {**USER, **DROP_ALL}, True),
    ("1000-1000", {**USER, "allowPrivilegeEscalation": False}, True),
    ("1000-0", USER, False),
    ("1000-1000", {"runAsUser": 1000, "runAsGroup": 0}, False),
    ("1000", {"runAsUser": 1000}, True),
    ("1000", USER, False),
    ("1000-1000", {"runAsUser": 2000, "runAsGroup": 1000}, False),
    ("root", {"runAsUser": 0}, True),
    ("root", {"runAsUser": 0, **DROP_ALL}, False),
    ("root", {"runAsUser": 0, **ONLY_RAW}, False),
    ("root-drop-all", {"runAsUser": 0, **DROP_ALL}, True),
    ("root-drop-all", {"runAsUser": 0}, True),
    ("root", USER, False),
    ("root", {**USER, **TRACING}, False),
    ("1000-1000", {"runAsUser": 0}, False),
    ("1000-1000", {"runAsUser": 0, **TRACING}, True),
]


@pytest.fixture(scope="module")
def busybox_server(workspace: Path, embedded: str) -> str:
    return publish_server(workspace / "server", f"{embedded}/servers/kernel:v1", command=tuple(PAUSE), passwd=None)


@pytest.fixture(scope="module")
def kubelet(workspace: Path, busybox_server: str) -> Iterator[Kubelet]:
    with cri_engine(workspace / "kernel", busybox_server) as client:
        yield Kubelet(client, workspace / "pods")


@pytest.fixture(scope="module")
def sidecars(kubelet: Kubelet, model: Published, busybox_server: str) -> Iterator[RunningPod]:
    """One pod with all sidecars and all servers; supplementary groups for everyone, as `fsGroup` gives them."""
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in SIDECARS]
    holders: list[dict[str, Any]] = [
        {
            "name": f"holder-{name}",
            "image": model.ref,
            "command": ["/.modelcar/holder", "publish", "--to", f"/{name}"],
            "securityContext": context,
            "volumeMounts": [{"name": name, "mountPath": f"/{name}"}],
        }
        for name, context in SIDECARS.items()
    ]
    server = {"image": busybox_server, "command": PAUSE, "volumeMounts": mounts}
    servers = [{**server, "name": f"server-{i}", "securityContext": context} for i, (_, context, _) in enumerate(ROWS)]
    pod = {
        "metadata": {"name": "kernel"},
        "spec": {
            "shareProcessNamespace": True,
            "securityContext": {"supplementalGroups": [4000]},
            "containers": [*holders, *servers],
            "volumes": [{"name": name, "emptyDir": {}} for name in SIDECARS],
        },
    }
    with kubelet.running(pod) as running:
        for name in SIDECARS:
            eventually(lambda name=name: "published" in running.log(f"holder-{name}"), f"{name} publishes")  # type: ignore[misc]  # mypy takes no lambda with a default
        yield running


@pytest.mark.parametrize("i", range(len(ROWS)), ids=[f"{row[0]} {row[1]}" for row in ROWS])
def test_who_may_read_through_whom(sidecars: RunningPod, model: Published, i: int) -> None:
    sidecar, _, is_allowed = ROWS[i]
    done = sidecars.execute(f"server-{i}", "cat", f"/{sidecar}/config.json")
    if is_allowed:
        assert (done.status, done.stdout) == (0, model.files["config.json"].decode())
    else:
        assert done.status == 1
        assert "Permission denied" in done.stderr


def test_every_row_has_a_sidecar_and_both_answers_occur() -> None:
    assert {row[0] for row in ROWS} == set(SIDECARS)
    assert {row[2] for row in ROWS} == {True, False}


def test_a_holder_that_its_user_may_not_read_hides_its_root(
    kubelet: Kubelet, workspace: Path, embedded: str, busybox_server: str
) -> None:
    """Mode 0711: executable, not readable, so not dumpable. The holder says so itself rather than publish in vain."""
    from modelcar.holder import holder_bytes
    from tests.e2e.support.bases import HERE

    architecture = "arm64" if HERE == "arm64" else "amd64"
    files = {".modelcar/holder": holder_bytes(architecture), "models/config.json": b"{}"}
    image = publish_server(
        workspace / "server", f"{embedded}/servers/unreadable:v1", files=files, modes={".modelcar/holder": 0o711}
    )
    sidecar = {
        "name": "holder",
        "image": image,
        "command": ["/.modelcar/holder", "publish", "--to", "/mnt/models"],
        "securityContext": {**USER, **DROP_ALL},
        "volumeMounts": [{"name": "model", "mountPath": "/mnt/models"}],
    }
    pod = {
        "metadata": {"name": "unreadable"},
        "spec": {
            "shareProcessNamespace": True,
            "initContainers": [sidecar],
            "containers": [{"name": "server", "image": busybox_server, "command": PAUSE}],
            "volumes": [{"name": "model", "emptyDir": {}}],
        },
    }
    with pytest.raises(PodFailed, match=r"holder: .*dumpable"), kubelet.running(pod):
        pytest.fail("it runs")
