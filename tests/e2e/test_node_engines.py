"""Real engines, wired by `registry-shim hosts-toml`: images come through the shim, or not at all.

The upstream runs beside the shim and serves what the shim refuses, so that every way around would lead somewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Published
from tests.e2e.support.commands import BIN, Done, Modelcar, run
from tests.e2e.support.nodes import Node, check_import, node, pull_by_cri
from tests.e2e.support.shims import Shim, running_shim
from tests.support.authority import Authority

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.debian("containerd", "ctr", "runc", "skopeo", "podman", "buildah", "unshare"),
]

FORBIDDEN = "modelcar.dev/doctor/real:forbidden"
ENGINES = ["cri", "ctr", "podman", "buildah", "skopeo"]


@pytest.fixture(scope="module")
def machine(workspace: Path) -> Iterator[Node]:
    with node(workspace / "node") as found:
        yield found


@pytest.fixture(scope="module")
def forbidden(model: Published, modelcar: Modelcar, embedded: str) -> str:
    """An image that the upstream has and every shim refuses."""
    ref = f"{embedded}/{FORBIDDEN}"
    modelcar("copy", model.ref, ref)
    return ref


@pytest.fixture
def shim(tmp_path: Path, embedded: str) -> Iterator[Shim]:
    with running_shim(tmp_path, embedded) as found:
        yield found


@pytest.fixture
def wired(machine: Node, shim: Shim, embedded: str) -> Iterator[Node]:
    """The node, with nothing pulled, all its engines wired; and afterwards as it was."""
    wire(machine, shim, embedded)
    try:
        yield machine
    finally:
        machine.shim("hosts-toml", "--uninstall")
        clear(machine)


def wire(machine: Node, shim: Shim, registry: str, *more: str | Path) -> None:
    engines = ("--engine", "containerd", "--engine", "podman")
    machine.shim("hosts-toml", "--registry", registry, "--shim", shim.url, *engines, *more)


def clear(machine: Node) -> None:
    for name in machine.ctr("image", "list", "--quiet").stdout.split():
        machine.ctr("image", "remove", "--sync", name, check=False)
    machine.podman("podman", "rmi", "--all", "--force")


def pull(machine: Node, engine: str, ref: str) -> Done:
    """Through the node's configuration. `--tls-verify` is for the upstream: the shim's location is marked itself."""
    match engine:
        case "ctr":
            return machine.ctr("images", "pull", "--hosts-dir", "/etc/containerd/certs.d", ref, check=False)
        case "skopeo":
            return machine("skopeo", "inspect", "--tls-verify=false", f"docker://{ref}", check=False)
        case "podman" | "buildah":
            return machine.podman(engine, "pull", "--quiet", "--tls-verify=false", ref, check=False)
    return pull_by_cri(machine, ref)


@pytest.mark.parametrize("engine", ENGINES)
def test_images_come_through_the_shim(wired: Node, shim: Shim, model: Published, engine: str) -> None:
    assert not shim.has(model.digest)
    done = pull(wired, engine, model.ref)
    assert done.returncode == 0, done.stderr
    assert shim.has(model.digest)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_the_shim_refuses_cannot_be_had(wired: Node, shim: Shim, forbidden: str, engine: str) -> None:
    done = pull(wired, engine, forbidden)
    assert done.returncode != 0
    assert "403" in done.stderr or "refused on purpose" in done.stderr


@pytest.mark.parametrize("engine", ENGINES)
def test_without_the_shim_nothing_comes(wired: Node, shim: Shim, model: Published, engine: str) -> None:
    shim.stop()
    done = pull(wired, engine, model.ref)
    assert done.returncode != 0
    assert "connection refused" in done.stderr


@pytest.mark.parametrize("engine", ENGINES)
def test_after_uninstalling_all_is_as_it_was(
    machine: Node, shim: Shim, model: Published, forbidden: str, embedded: str, engine: str
) -> None:
    before = configuration(machine)
    wire(machine, shim, embedded)
    assert configuration(machine) != before
    machine.shim("hosts-toml", "--uninstall")
    assert configuration(machine) == before
    shim.stop()
    for ref in (model.ref, forbidden):
        done = pull(machine, engine, ref) if engine != "ctr" else machine.ctr("images", "pull", "--plain-http", ref)
        assert done.returncode == 0, done.stderr
    clear(machine)


def configuration(machine: Node) -> dict[str, bytes | None]:
    folders = [machine.root / "etc/containerd", machine.root / "etc/containers", machine.root / "var/lib"]
    paths = [path for folder in folders for path in folder.rglob("*") if "var/lib/containerd" not in str(path)]
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def test_with_tls_the_authority_is_where_each_engine_looks(
    machine: Node, model: Published, forbidden: str, embedded: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    with running_shim(tmp_path, embedded, certificate=authority.issue_for_loopback("shim")) as shim:
        wire(machine, shim, embedded)
        try:
            assert "certificate" in pull(machine, "cri", model.ref).stderr
            wire(machine, shim, embedded, "--ca", authority.ca_file)
            for engine in ("cri", "ctr", "podman"):
                done = pull(machine, engine, model.ref)
                assert done.returncode == 0, done.stderr
            assert shim.has(model.digest)
            status, findings = examine(machine, "--canary", forbidden)
            assert (status, [f for f in findings if f["level"] == "problem"]) == (0, [])
        finally:
            machine.shim("hosts-toml", "--uninstall")
            clear(machine)


def test_pushes_do_not_go_past_the_shim(wired: Node, model: Published, embedded: str) -> None:
    assert pull(wired, "ctr", model.ref).returncode == 0
    arguments = ("--hosts-dir", "/etc/containerd/certs.d", f"{embedded}/acme/pushed:v1", model.ref)
    assert wired.ctr("images", "push", *arguments, check=False).returncode != 0


def examine(machine: Node, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    done = machine.shim("doctor", "--json", *arguments, check=False)
    return done.returncode, json.loads(done.stdout)["findings"]


def test_the_doctor_proves_it_on_the_real_path(wired: Node, forbidden: str) -> None:
    status, findings = examine(wired, "--canary", forbidden)
    assert (status, [f for f in findings if f["level"] == "problem"]) == (0, [])
    asked = {f["subject"].split()[0] for f in findings if "that was the end of it" in f["message"]}
    assert asked == {"containerd", "skopeo", "podman", "buildah"}


def test_the_doctor_finds_a_containerd_that_falls_through(wired: Node, forbidden: str, embedded: str) -> None:
    (hosts,) = (wired.root / "etc/containerd/certs.d").glob("*/hosts.toml")
    table = hosts.read_text().partition("[host.")[2]
    hosts.write_text(f'server = "http://{embedded}"\n[host.{table}')
    status, findings = examine(wired, "--canary", forbidden)
    failures = [f["message"] for f in findings if f["level"] == "problem" and "containerd" in f["subject"]]
    assert status == 1
    assert any(f"{forbidden} was pulled" in message for message in failures)
    assert any(f"http://{embedded} as well" in message for message in failures)
    hosts.unlink()  # so that what was written can be taken back


def test_the_doctor_finds_a_mirror_that_is_only_a_suggestion(
    wired: Node, shim: Shim, forbidden: str, embedded: str
) -> None:
    (conf,) = (wired.root / "etc/containers/registries.conf.d").glob("*-modelcar-shim.conf")
    other = conf.with_name("zz-mirror.conf")
    mirror = f'[[registry.mirror]]\nlocation = "{shim.url.removeprefix("http://")}/{embedded.replace(":", "-")}"\n'
    other.write_text(f'[[registry]]\nlocation = "{embedded}"\ninsecure = true\n{mirror}insecure = true\n')
    try:
        status, findings = examine(wired, "--canary", forbidden)
    finally:
        other.unlink()
    failures = [f["message"] for f in findings if f["level"] == "problem"]
    assert status == 1
    assert any(f"{forbidden} was pulled" in message for message in failures)
    assert any("zz-mirror.conf sends" in message for message in failures)


def test_a_containerd_without_host_table_asks_the_registry_itself(wired: Node, forbidden: str, shim: Shim) -> None:
    """Why a hosts.toml of `server` alone will not do."""
    (hosts,) = (wired.root / "etc/containerd/certs.d").glob("*/hosts.toml")
    hosts.write_text(f'server = "{shim.url}"\n')
    version = run("containerd", "--version").stdout
    if " 1." in version:
        assert pull(wired, "cri", forbidden).returncode == 0
    else:
        assert pull(wired, "cri", forbidden).returncode != 0
    hosts.unlink()


def test_an_import_leaves_the_weights_where_they_are(wired: Node, shim: Shim, model: Published) -> None:
    assert pull(wired, "podman", model.ref).returncode == 0
    check_import(wired, shim, model)
    assert len(wired.ctr("snapshots", "list").stdout.splitlines()) > 3  # and it is unpacked


@pytest.mark.debian("setpriv")
def test_a_pod_needs_no_capability_to_wire_a_node(tmp_path: Path, embedded: str) -> None:
    """As the DaemonSet's init container: root without any, and the record's folder is a mount."""
    folder = tmp_path / "etc/containerd/certs.d" / embedded.replace(":", "_").join(("", "_"))
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text("# theirs")
    (tmp_path / "etc/containerd/config.toml").write_text("version = 2\n")
    record = tmp_path / "var/lib/modelcar-wiring"
    record.mkdir(parents=True)
    confined = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", BIN / "registry-shim")
    run("mount", "--bind", record, record)
    try:
        run(*confined, "hosts-toml", "--root", tmp_path, "--registry", embedded, "--shim", "http://127.0.0.1:1")
        assert "127.0.0.1:1" in (folder / "hosts.toml").read_text()
        run(*confined, "hosts-toml", "--root", tmp_path, "--uninstall")
        assert (folder / "hosts.toml").read_text() == "# theirs"
        assert not list(record.iterdir())
    finally:
        run("umount", record)
