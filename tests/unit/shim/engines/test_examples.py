"""What lies in examples/node is what the code, Kubernetes and systemd understand, and can boot a node."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from modelcar.serving.config.reading import load_file
from registry_shim.cli import cli
from registry_shim.engines.install import STATE
from registry_shim.operations.settings import NodeSettings

FOLDER = Path(__file__).parents[4] / "examples/node"
PROGRAM = Path(sys.executable).with_name("registry-shim")


def documents(name: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all((FOLDER / name).read_text()) if document]


def daemon_sets() -> list[dict[str, Any]]:
    both = [*documents("daemonset.yaml"), *documents("unwire.yaml")]
    return [document for document in both if document["kind"] == "DaemonSet"]


def containers(daemon_set: dict[str, Any]) -> list[dict[str, Any]]:
    pod = daemon_set["spec"]["template"]["spec"]
    return [*pod["initContainers"], *pod["containers"]]


def ours() -> list[dict[str, Any]]:
    return [c for daemon_set in daemon_sets() for c in containers(daemon_set) if "args" in c]


def config_map() -> str:
    (found,) = [document for document in documents("daemonset.yaml") if document["kind"] == "ConfigMap"]
    return str(found["data"]["config.yaml"])


def test_the_configurations_are_read_by_the_loader(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(config_map())
    for path in (FOLDER / "config.yaml", tmp_path / "config.yaml"):
        settings = load_file(path, NodeSettings)
        assert settings.root == Path("/var/lib/registry-shim")
        assert settings.listen.startswith("127.0.0.1:")


def test_every_registry_that_is_wired_is_an_upstream(tmp_path: Path) -> None:
    (wire,) = [c for c in ours() if c["name"] == "wire"]
    wired = {value for option, value in zip(wire["args"], wire["args"][1:], strict=False) if option == "--registry"}
    (tmp_path / "config.yaml").write_text(config_map())
    assert wired == {
        upstream.registry for upstream in load_file(tmp_path / "config.yaml", NodeSettings).mirror.upstreams
    }
    for container in (c for daemon_set in daemon_sets() for c in containers(daemon_set)):
        assert container["image"].partition("/")[0] not in wired, "a node could not get the shim up again"


@pytest.mark.parametrize("container", ours(), ids=lambda c: c["name"])
def test_arguments_are_those_of_the_commands(container: dict[str, Any], tmp_path: Path) -> None:
    verb, *arguments = [str(tmp_path) if value == "/host" else value for value in container["args"]]
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    command.make_context(verb, arguments)  # parses, and runs nothing


@pytest.mark.parametrize("daemon_set", daemon_sets(), ids=lambda d: d["metadata"]["name"])
def test_pods_have_no_more_than_they_need(daemon_set: dict[str, Any]) -> None:
    pod = daemon_set["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert daemon_set["spec"]["selector"]["matchLabels"] == daemon_set["spec"]["template"]["metadata"]["labels"]
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


def test_the_service_account_may_only_look_for_peers() -> None:
    (role,) = [document for document in documents("daemonset.yaml") if document["kind"] == "Role"]
    assert [(rule["resources"], set(rule["verbs"])) for rule in role["rules"]] == [
        (["endpointslices"], {"get", "list", "watch"})
    ]
    assert not [document for document in documents("daemonset.yaml") if document["kind"].startswith("ClusterRole")]


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
