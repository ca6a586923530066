"""What `modelcar manifests` prints, in a cluster of its own: taken as it is, twice, and gone without a trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.support.commands import BIN, run
from tests.support.kubernetes import Kubernetes, kubernetes
from tests.support.waiting import eventually

pytestmark = pytest.mark.conformance

NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a", "labels": {"kubernetes.io/os": "linux"}}}
SYSTEM, SHIM = "modelcar-system", "registry-shim"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, built: None) -> Iterator[Kubernetes]:
    with kubernetes(tmp_path_factory.mktemp("cluster") / "k") as running:
        running.apply(NODE)
        yield running


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    glob, key = "registry.example/**", {"static": {"action": "pass"}}
    spec = {"images": [{"glob": glob}], "authorities": [key]}
    document = {"apiVersion": "policy.sigstore.dev/v1beta1", "kind": "ClusterImagePolicy", "metadata": {"name": "p"}}
    path = tmp_path / "ci.yaml"
    path.write_text(yaml.safe_dump(document | {"spec": spec}))
    return path


def manifests(*options: str | Path) -> str:
    return run(BIN / "modelcar", "manifests", "--image", "registry.internal/modelcar:1.0", *options).stdout


def everything(cluster: Kubernetes) -> set[str]:
    """Kind and name of all objects, but for what lives for minutes by itself."""
    kinds = cluster.kubectl("api-resources", "--verbs=list,delete", "-o", "name").split()
    asked = ",".join(kind for kind in kinds if not kind.startswith("events"))
    return set(cluster.kubectl("get", asked, "--all-namespaces", "-o", "name").split())


def versions(cluster: Kubernetes, printed: str) -> dict[tuple[str, str], str]:
    """What changes with each object, but not when somebody tells how it fares."""
    items = json.loads(cluster.kubectl("get", "-o", "json", "-f", "-", stdin=printed))["items"]
    return {
        (i["kind"], i["metadata"]["name"]): str(i["metadata"].get("generation") or i["metadata"]["resourceVersion"])
        for i in items
    }


def pods(cluster: Kubernetes, namespace: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = cluster.get("-n", namespace, "pods")["items"]
    return items


@pytest.mark.parametrize("way", [(), ("--server-side",)], ids=["applied", "applied by the server"])
def test_installed_twice_and_taken_away(way: tuple[str, ...], policy: Path, cluster: Kubernetes) -> None:
    before = everything(cluster)
    printed = manifests("--registry", "registry.example", "--trust", "enforce", "--policy", policy)
    objects = [each for each in yaml.safe_load_all(printed) if each]
    first = cluster.kubectl("apply", *way, "-f", "-", stdin=printed, check=False)
    assert len(first.splitlines()) == len(objects), first  # a warning or an error would be a line more
    established = ("wait", "--for=condition=Established", "--timeout=30s", "crd", "modelcaches.modelcar.dev")
    cluster.kubectl(*established)
    made = versions(cluster, printed)
    cluster.kubectl("apply", *way, "-f", "-", stdin=printed)
    assert versions(cluster, printed) == made
    assert cluster.kubectl("diff", *way, "-f", "-", stdin=printed) == ""
    guard = cluster.get("validatingadmissionpolicy", f"{SHIM}-node")
    assert not guard["status"].get("typeChecking"), guard["status"]
    # The Pod Security Standards of their namespaces let them in: there is nobody to run them.
    eventually(lambda: len(pods(cluster, SYSTEM)) == 3 and len(pods(cluster, SHIM)) == 1, "pods are made", within=60)

    unwire = manifests("--registry", "registry.example", "--only", "unwire")
    cluster.kubectl("apply", "-f", "-", stdin=unwire)
    eventually(lambda: len(pods(cluster, SHIM)) == 2, "one that undoes what the shim did to the node", within=60)
    cluster.kubectl("delete", "-f", "-", stdin=unwire)
    cluster.kubectl("delete", "modelcaches", "--all")
    cluster.kubectl("delete", "--timeout=120s", "-f", "-", stdin=printed)
    eventually(lambda: not everything(cluster) - before, "it is gone", within=60)
    assert everything(cluster) == before


@pytest.mark.parametrize(
    "options",
    [("--no-peers",), ("--namespace", "models", "--shim-namespace", "node-cache")],
    ids=["no peers", "other namespaces"],
)
def test_other_choices_are_taken(options: tuple[str, ...], cluster: Kubernetes) -> None:
    printed = manifests(*options)
    try:
        said = cluster.kubectl("apply", "-f", "-", stdin=printed, check=False)
        assert all(line.endswith(" created") for line in said.splitlines()), said
    finally:
        cluster.kubectl("delete", "--timeout=120s", "-f", "-", stdin=printed)


def test_definitions_say_what_is_wrong(cluster: Kubernetes) -> None:
    definitions = manifests("--only", "definitions")
    cluster.kubectl("apply", "-f", "-", stdin=definitions)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "modelcaches.modelcar.dev")

    def told(spec: dict[str, Any], name: str = "llm") -> str:
        body = {"apiVersion": "modelcar.dev/v1alpha1", "kind": "ModelCache", "metadata": {"name": name}, "spec": spec}
        return cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body), check=False)

    try:
        assert "written without a scheme" in told({"image": "oci://ghcr.io/acme/llm:v1"})
        assert "spec.image" in told({"image": ""})
        assert "spec.image" in told({})
        assert "spec.priority" in told({"image": "ghcr.io/acme/llm:v1", "priority": 10**9})
        assert "unknown field" in told({"image": "ghcr.io/acme/llm:v1", "pinned": True})
        assert told({"image": "ghcr.io/acme/llm:v1"}).endswith("created\n")
        assert "make another ModelCache" in told({"image": "ghcr.io/acme/llm:v2"})
        assert cluster.get("modelcache", "llm")["spec"] == {"image": "ghcr.io/acme/llm:v1", "pin": True, "priority": 0}
    finally:
        cluster.kubectl("delete", "-f", "-", stdin=definitions)
