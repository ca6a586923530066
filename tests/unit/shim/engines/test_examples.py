"""What is put on a node, by systemd or by a DaemonSet, is what code and systemd understand, and can boot a node."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelcar.cluster.manifests.bundle import bundle
from modelcar.cluster.manifests.settings import Installation
from modelcar.serving.config.reading import load_file
from registry_shim.engines.install import STATE
from registry_shim.operations.settings import NodeSettings

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[4] / "examples/node"
PROGRAM = Path(sys.executable).with_name("registry-shim")


def daemon_sets() -> list[dict[str, Any]]:
    """What `modelcar manifests` puts on every node, and what takes it away again."""
    both = bundle(Installation(), ("shim", "unwire"))
    return [each for each in both if each["kind"] == "DaemonSet"]


def containers(daemon_set: dict[str, Any]) -> list[dict[str, Any]]:
    pod = daemon_set["spec"]["template"]["spec"]
    return [*pod["initContainers"], *pod["containers"]]


def ours() -> list[dict[str, Any]]:
    return [c for daemon_set in daemon_sets() for c in containers(daemon_set) if "args" in c]


def test_the_configuration_is_read_by_the_loader() -> None:
    settings = load_file(FOLDER / "config.yaml", NodeSettings)
    assert settings.root == Path("/var/lib/registry-shim")
    assert settings.listen.startswith("127.0.0.1:")


@pytest.mark.parametrize("daemon_set", daemon_sets(), ids=lambda d: d["metadata"]["name"])
def test_pods_have_no_more_than_they_need(daemon_set: dict[str, Any]) -> None:
    pod = daemon_set["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    selector, labels = (
        daemon_set["spec"]["selector"]["matchLabels"],
        daemon_set["spec"]["template"]["metadata"]["labels"],
    )
    assert selector.items() <= labels.items()
    for container in containers(daemon_set):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in context
        assert {"requests", "limits"} <= container["resources"].keys()
        mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
        assert mounted <= {volume["name"] for volume in pod["volumes"]}


def test_the_record_of_what_was_wired_outlives_the_pod() -> None:
    for container in (c for c in ours() if c["args"][0] == "hosts-toml"):
        assert f"/host{STATE}" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_it_is_not_unwired_whenever_a_pod_ends() -> None:
    for daemon_set in daemon_sets():
        assert all("lifecycle" not in container for container in containers(daemon_set))


@pytest.mark.debian("systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = (FOLDER / "registry-shim.service").read_text()
    assert "\nType=notify\n" in unit
    assert "\nBefore=containerd.service" in unit
    place = tmp_path / "registry-shim.service"
    place.write_text(unit.replace("/opt/registry-shim/bin/registry-shim", str(PROGRAM)))
    drop_ins = tmp_path / "registry-shim.service.d"
    drop_ins.mkdir()
    (drop_ins / "import.conf").write_text((FOLDER / "import.conf").read_text())
    done = subprocess.run(
        ["systemd-analyze", "verify", str(place)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"SYSTEMD_LOG_LEVEL": "warning", "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.debian("systemd-analyze")
def test_the_snapshotters_unit_denies_no_call_that_it_needs() -> None:
    unit = (FOLDER / "modelcar-snapshotter.service").read_text()
    (denied,) = (line.partition("=~")[2].split() for line in unit.splitlines() if line.startswith("SystemCallFilter="))
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", *denied], capture_output=True, text=True, timeout=60, check=True
    )
    calls = set(listed.stdout.split())
    assert "ptrace" in calls
    ours = {"cachestat", "fanotify_init", "fanotify_mark", "fsconfig", "fsmount", "fsopen", "memfd_create", "mount"}
    ours |= {"move_mount", "name_to_handle_at", "open_by_handle_at", "open_tree", "prlimit64", "splice", "umount2"}
    assert not ours & calls


@pytest.mark.debian("systemd-analyze")
def test_systemd_understands_the_snapshotters_unit(tmp_path: Path) -> None:
    unit = (FOLDER / "modelcar-snapshotter.service").read_text()
    assert "\nBefore=containerd.service" in unit
    assert "\nKillMode=process\n" in unit  # whoever serves a mount lives on
    own_mounts = ("Protect", "Private", "ReadOnly", "ReadWrite", "Inaccessible", "Bind", "Temporary", "Root", "Dynamic")
    assert not [line for line in unit.splitlines() if line.startswith(own_mounts)]  # pods would not see its mounts
    place = tmp_path / "modelcar-snapshotter.service"
    place.write_text(unit.replace("/opt/registry-shim/bin/registry-shim", str(PROGRAM)))
    (tmp_path / "registry-shim.service").write_text("[Service]\nExecStart=/bin/true\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(place)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"SYSTEMD_LOG_LEVEL": "warning", "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (0, "")
