"""The image of a release, run: by people as they run any, and as its own bundle has it run on nodes.

Its base is a file system with this machine's Python, laid out as the real one's (`support/python_base.py`). The bundle
is read from the release: users, limits, folders, commands and probes are what it says.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import ssl
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from modelcar.cluster.resources import CUSTOM_RESOURCES, MODEL_CACHES, MUTATING_WEBHOOKS, NODES
from modelcar.cluster.testing import MemoryCluster
from modelcar.oci import Index, Manifest
from modelcar.store.layout import OciLayout
from modelcar.store.names import Names
from modelcar.store.tree import load
from scripts.release.source import unpack
from tests.e2e.conftest import Published
from tests.e2e.support.bases import HERE
from tests.e2e.support.commands import BIN, Modelcar, run, serving
from tests.e2e.support.kubelet import Kubelet, Node, Running
from tests.e2e.support.networks import Network, network
from tests.e2e.support.nodes import CONFIG_1
from tests.e2e.support.podman import Podman
from tests.e2e.support.python_base import VERSION, write_python_base
from tests.e2e.support.releases import SITE, build, make_parts
from tests.support.api_server import served
from tests.support.authority import Authority
from tests.support.checkpoints import files_of
from tests.support.reviews import a_pod, a_review, raw, response_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.debian("podman", "runc", "skopeo", "ip", "nsenter")]
SOURCE = "https://github.com/Acme/modelcar"


@pytest.fixture(scope="module")
def authority(workspace: Path) -> Authority:
    """Whom the base trusts."""
    return Authority(workspace / "authority")


@pytest.fixture(scope="module")
def released(workspace: Path, authority: Authority) -> Path:
    parts = workspace / "parts"
    parts.mkdir()
    make_parts(parts, lambda folder: write_python_base(folder, authority.ca_file))
    assert build(parts, workspace / "release", "--source", SOURCE) == 0
    return workspace / "release"


@pytest.fixture(scope="module")
def objects(released: Path, workspace: Path) -> list[dict[str, Any]]:
    """What `kubectl apply -k base` would apply."""
    (file,) = released.glob("*-kustomize.tar")
    with tarfile.open(file) as archive:
        unpack(archive, workspace / "bundle")
    base = workspace / "bundle/base"
    names = yaml.safe_load((base / "kustomization.yaml").read_text())["resources"]
    return [each for name in names for each in yaml.safe_load_all((base / name).read_text())]


@pytest.fixture(scope="module")
def image(released: Path, podman_engine: Podman, embedded: str, modelcar: Modelcar) -> str:
    """It is copied to a registry, as `docs/how-to/release.md` says, and pulled from there by the bundle's digest."""
    layout = OciLayout(released / "image", create=False)
    modelcar("copy", f"oci:{released / 'image'}", f"{embedded}/platform/modelcar:1")
    name = f"{embedded}/platform/modelcar@{Names(layout).only().digest}"
    podman_engine.pull(name)
    return name


@pytest.fixture
def engine(podman_engine: Podman) -> Iterator[Podman]:
    yield podman_engine
    podman_engine.clear()


def test_its_labels_and_what_it_starts(engine: Podman, image: str) -> None:
    config = json.loads(engine("image", "inspect", "--format", "{{json .Config}}", image).stdout)
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
    assert labels.keys() == {
        *("base.digest", "base.name", "created", "description", "licenses", "revision", "source", "title", "url"),
        "version",
    }
    assert (labels["source"], labels["base.name"]) == (SOURCE, f"docker.io/library/python:{VERSION}-slim")
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", labels["created"])
    assert (config["Entrypoint"], config["Cmd"], config["User"]) == (["modelcar"], ["--help"], "65532:65532")
    assert engine.run("--rm", image).stdout.startswith("Usage: modelcar [OPTIONS] COMMAND [ARGS]...")
    assert engine.run("--rm", image, "--version").stdout.startswith("modelcar, version ")
    assert engine.run("--rm", "--entrypoint=registry-shim", image, "--version").stdout.startswith("registry-shim")


def test_what_is_in_it(released: Path, record_property: Any) -> None:
    """Nothing that was compiled here, no tests of ours, no cache of an installer; and how large it is, by layer."""
    layout = OciLayout(released / "image", create=False)
    index = load(layout, Names(layout).only())
    assert isinstance(index, Index)
    manifest = load(layout, next(m for m in index.manifests if m.platform and m.platform.architecture == HERE))
    assert isinstance(manifest, Manifest)
    sizes = {str(layer.digest): layer.size for layer in manifest.layers}
    record_property("bytes of layers", list(sizes.values()))
    print(*(f"{size / 1e6:8.1f} MB  {digest}" for digest, size in sizes.items()), sep="\n")
    with layout.open(manifest.layers[-1].digest) as reader, tarfile.open(fileobj=reader, mode="r|") as archive:  # type: ignore[call-overload]  # tarfile takes whatever reads
        names = [member.name for member in archive]
    assert {name.split("/", 3)[2] for name in names if name.count("/") >= 2} == {"bin", "lib"}
    assert sorted(name for name in names if name.startswith("usr/local/bin/")) == [
        "usr/local/bin/modelcar",
        "usr/local/bin/registry-shim",
    ]
    odd = [n for n in names if n.endswith(".pyc") or "__pycache__" in n or re.search(r"/pip[-/]|\.cache", n)]
    assert odd == []
    ours = [n.removeprefix(f"{SITE}/") for n in names if n.startswith((f"{SITE}/modelcar/", f"{SITE}/registry_shim/"))]
    assert [n for n in ours if re.search(r"(^|/)(tests?|conftest\.py)(/|$)", n)] == []


READ_ONLY = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--tmpfs=/tmp")


@pytest.mark.parametrize("options", [(), READ_ONLY, ("--user=1234:5678",), ("--user=0:0", "--cap-drop=all")])
def test_a_person_packages_a_model_with_it(
    engine: Podman, image: str, checkpoint: Path, options: tuple[str, ...]
) -> None:
    """Nothing is set up: whoever runs it has a home to write to."""
    model = f"--volume={checkpoint}:/model:ro"
    built = engine.run("--rm", *options, model, image, "build", "/model", "-t", "acme/tiny:v1", "--json")
    assert json.loads(built.stdout)["digest"].startswith("sha256:")
    found = engine.run("--rm", *options, image, "doctor", "--json", check=False)
    problems = {f["subject"]: f["message"] for f in json.loads(found.stdout)["findings"] if f["level"] == "problem"}
    assert problems == {}


def test_without_a_folder_for_temporary_files_it_says_so(engine: Podman, image: str) -> None:
    done = engine.run("--rm", "--read-only", "--read-only-tmpfs=false", image, "doctor", check=False)
    assert done.returncode == 1
    assert "temporary files: No usable temporary directory found" in done.stdout
    assert "mount a folder at /tmp" in done.stdout
    assert "Traceback" not in done.stderr
    assert engine.run("--rm", "--read-only", "--read-only-tmpfs=false", image, "--version").returncode == 0


SERVICE = "modelcar-webhook.modelcar-system.svc"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One node, in a network of its own, in which `ghcr.io` is a registry of ours with the model."""

    kubelet: Kubelet
    node: Node
    memory: MemoryCluster

    def started(self, kind: str, name: str, container: str) -> Running:
        """It runs, and its probes have been answered, each in turn."""
        running = self.kubelet.start(self.kubelet.pod(kind, name), container)
        for probe in ("startup", "liveness", "readiness"):
            if f"{probe}Probe" in running.container:
                eventually(
                    lambda p=probe: running.has_ended() or running.probe(p) == 200,  # type: ignore[misc]  # mypy takes no lambda with a default
                    f"{container} is up: {probe}",
                )
        assert not running.has_ended(), running.log()
        return running


@pytest.fixture(scope="module")
def registry(workspace: Path, authority: Authority, model: Published, modelcar: Modelcar) -> Iterator[Network]:
    """A network, and in it `ghcr.io` at 127.0.0.1."""
    folder = workspace / "upstream"
    folder.mkdir()
    issued = authority.issue("ghcr", dns=["ghcr.io"], ips=["127.0.0.1"])
    tls = {"certificate_file": str(issued.certificate), "key_file": str(issued.key)}
    config = {"root": str(folder / "root"), "listen": "127.0.0.1:443", "writable": True, "tls": tls}
    (folder / "config.yaml").write_text(json.dumps(config))  # which is YAML, too
    with network("release") as wire:
        ready = folder / "ready"
        command = wire.inside(BIN / "registry-shim", "serve", "--config", folder / "config.yaml", "--ready-file", ready)
        with serving(folder / "log", *command) as process:
            eventually(lambda: ready.exists() or process.poll() is not None, "the registry starts")
            assert process.poll() is None, (folder / "log").read_text()
            push = ("push", model.ref, "127.0.0.1:443/acme/tiny:v1", "--ca-file", authority.ca_file)
            run(*wire.inside(BIN / "modelcar", *push), environment=modelcar.environment)
            yield wire


@pytest.fixture
def cluster(
    registry: Network, objects: list[dict[str, Any]], image: str, engine: Podman, authority: Authority, workspace: Path
) -> Iterator[Cluster]:
    """With an API server, and its certificates for peers."""
    peers = authority.issue("peers", dns=["registry-shim.peers"])
    files = {"tls.crt": peers.certificate, "tls.key": peers.key, "ca.crt": authority.ca_file}
    secret = {
        "kind": "Secret",
        "metadata": {"name": "registry-shim-peers"},
        "data": {name: file.read_bytes() for name, file in files.items()},
    }
    (configuration,) = [each for each in objects if each["kind"] == MUTATING_WEBHOOKS.kind]
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    memory = MemoryCluster(
        (MUTATING_WEBHOOKS, configuration),
        (NODES, {"metadata": {"name": "node-1"}, "status": ready}),
        *((CUSTOM_RESOURCES, each) for each in objects if each["kind"] == CUSTOM_RESOURCES.kind),
    )
    server = authority.issue("api", ips=["127.0.0.1"])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(server.certificate, server.key)
    folder = Path(tempfile.mkdtemp(prefix="node-", dir=workspace))
    folder.chmod(0o755)
    containerd = folder / "host/etc/containerd"
    containerd.mkdir(parents=True)
    (containerd / "config.toml").write_text(CONFIG_1)
    with ExitStack() as stack:
        with registry.entered():
            url = stack.enter_context(served(memory, tls))
        node = Node(
            folder=folder,
            network=registry,
            hosts={"ghcr.io": "127.0.0.1"},
            api=(int(urlsplit(url).port or 0), authority.ca_file),
        )
        named = f"registry.example/modelcar/modelcar@{image.partition('@')[2]}"
        yield Cluster(kubelet=Kubelet(engine, node, [*objects, secret], {named: image}), node=node, memory=memory)


def test_the_bundle_at_work(cluster: Cluster, model: Published, tmp_path: Path) -> None:
    """Everything of it on one node: the node is wired, the shim serves the model, the webhook answers, the controller
    and the node's agent tell the API server."""
    kubelet, node = cluster.kubelet, cluster.node
    wired = kubelet.run(kubelet.pod("DaemonSet", "registry-shim"), "wire")
    assert wired.returncode == 0, wired.stderr
    (hosts,) = (node.folder / "host").rglob("hosts.toml")
    assert 'server = "http://127.0.0.1:5000"' in hosts.read_text()

    shim = cluster.started("DaemonSet", "registry-shim", "shim")
    pull = ("pull", "127.0.0.1:5000/ghcr.io/acme/tiny:v1", "-o", tmp_path / "pulled", "--plain-http")
    run(*node.network.inside(BIN / "modelcar", *pull), environment={"MODELCAR_HOME": str(tmp_path / "home")})
    assert files_of(tmp_path / "pulled") == model.files

    webhook = cluster.started("Deployment", "modelcar-webhook", "webhook")
    assert patched(cluster, "ghcr.io/acme/tiny:v1")

    controller = cluster.started("Deployment", "modelcar-controller", "controller")
    agent = kubelet.start(kubelet.pod("DaemonSet", "registry-shim"), "node")

    everything = (agent, controller, webhook, shim)
    cluster.memory.create(
        MODEL_CACHES, {"metadata": {"name": "tiny"}, "spec": {"image": "ghcr.io/acme/tiny:v1", "pin": True}}
    )
    try:
        eventually(lambda: summary(cluster) == "1/1", "the model is on every node", within=90)
    finally:
        print(*(running.log() for running in everything), sep="\n")
    assert [running.stop() for running in everything] == [0, 0, 0, 0]
    for running in everything:
        assert "Traceback" not in running.log(), running.log()


def summary(cluster: Cluster) -> str | None:
    found: str | None = cluster.memory.get(MODEL_CACHES, "tiny").get("status", {}).get("summary", {}).get("ready")
    return found


def patched(cluster: Cluster, model: str) -> list[dict[str, Any]]:
    """What the webhook does to a pod that asks for a model, asked as an API server asks."""
    (hook,) = cluster.memory.get(MUTATING_WEBHOOKS, "modelcar")["webhooks"]
    trust = ssl.create_default_context(cadata=base64.b64decode(hook["clientConfig"]["caBundle"]).decode())
    pod = a_pod(modelcar_dev__model=f"oci://{model}")
    pod["spec"]["containers"][0]["securityContext"] = {"runAsUser": 1000, "runAsGroup": 1000}
    with cluster.node.network.entered():
        wire = socket.create_connection(("127.0.0.1", 8443), timeout=20)
    connection = http.client.HTTPSConnection(SERVICE)
    connection.sock = trust.wrap_socket(wire, server_hostname=SERVICE)
    try:
        connection.request("POST", "/mutate", raw(a_review(pod)), {"Content-Type": "application/json"})
        response = response_of(connection.getresponse().read())
    finally:
        connection.close()
    assert response["allowed"], response
    patches: list[dict[str, Any]] = json.loads(base64.b64decode(response["patch"]))
    return patches


def test_without_an_api_server(cluster: Cluster) -> None:
    """A node that starts before its cluster serves what it has; who can do nothing without says what is missing."""
    alone = replace(cluster.node, api=(1, cluster.node.api[1]))  # type: ignore[index]  # it has one here
    kubelet = cluster.kubelet.on(alone)
    controller = kubelet.run(kubelet.pod("Deployment", "modelcar-controller"), "controller")
    assert controller.returncode == 3
    assert "the API server at https://127.0.0.1:1 does not answer" in controller.stderr
    shim = kubelet.start(kubelet.pod("DaemonSet", "registry-shim"), "shim")
    eventually(lambda: shim.has_ended() or shim.probe("readiness") == 200, "the shim is ready")
    eventually(lambda: "does not answer" in shim.log(), "the shim says that it finds no peers")
    assert "Traceback" not in controller.stderr + shim.log()
    assert shim.stop() == 0
