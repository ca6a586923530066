"""The webhook before a real API server: which pods it is asked about, and what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.support.images import Model, publish_server
from tests.cluster.support.namespaces import make_namespace
from tests.cluster.support.pods import asking, is_rewritten, made_pods, pod, template, would_be_rewritten
from tests.cluster.support.webhook import Replica, Webhook
from tests.e2e.support.commands import BIN, run
from tests.support.kubernetes import Kubernetes
from tests.support.waiting import eventually

pytestmark = pytest.mark.conformance

BATCH, APPS = "batch/v1", "apps/v1"
SELECTED: Any = {"selector": {"matchLabels": {"app": "server"}}}


@pytest.fixture(scope="module")
def replica(webhook: Webhook) -> Iterator[Replica]:
    webhook.configure()
    with webhook.running() as (one,):
        yield one


def workload(kind: str, made: dict[str, Any], *, api: str = APPS, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "server"}, "spec": {**spec, "template": made}}


def job(made: dict[str, Any]) -> dict[str, Any]:
    once = {**made, "spec": {**made["spec"], "restartPolicy": "Never"}}
    return workload("Job", once, api=BATCH)


WORKLOADS = {
    "Deployment": lambda made: workload("Deployment", made, **SELECTED),
    "StatefulSet": lambda made: workload("StatefulSet", made, serviceName="server", **SELECTED),
    "ReplicaSet": lambda made: workload("ReplicaSet", made, **SELECTED),
    "Job": job,
}


def create(cluster: Kubernetes, namespace: str, body: dict[str, Any], *options: str) -> str:
    """What kubectl says, be it yes or no."""
    return cluster.kubectl("-n", namespace, "create", *options, "-f", "-", stdin=json.dumps(body), check=False)


@pytest.mark.parametrize("kind", WORKLOADS)
def test_pods_of_workloads(kind: str, cluster: Kubernetes, namespace: str, model: Model, replica: Replica) -> None:
    create(cluster, namespace, WORKLOADS[kind](template(asking(model))))
    (made,) = made_pods(cluster, namespace)
    assert made["metadata"]["ownerReferences"][0]["kind"] in (kind, "ReplicaSet")
    assert is_rewritten(made, model)
    written = cluster.get("-n", namespace, kind, "server")["spec"]["template"]["spec"]
    assert "initContainers" not in written


def test_pods_of_a_cron_job(cluster: Kubernetes, namespace: str, model: Model, replica: Replica) -> None:
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job(template(asking(model)))["spec"]}}
    create(cluster, namespace, {"apiVersion": BATCH, "kind": "CronJob", "metadata": {"name": "server"}, "spec": spec})
    cluster.kubectl("-n", namespace, "create", "job", "now", "--from=cronjob/server")
    (made,) = made_pods(cluster, namespace)
    assert is_rewritten(made, model)


def test_pods_as_kserve_makes_them(cluster: Kubernetes, namespace: str, model: Model, replica: Replica) -> None:
    source = {"internal.serving.kserve.io/storage-initializer-sourceuri": f"oci://{model.ref}"}
    containers = [{"name": "kserve-container", "image": "registry.invalid/server:v1"}]
    create(cluster, namespace, pod("server", source, containers=containers))
    (made,) = made_pods(cluster, namespace)
    assert is_rewritten(made, model, called="kserve")


def test_who_runs_an_image_is_looked_up(
    cluster: Kubernetes, namespace: str, model: Model, replica: Replica, registry: str
) -> None:
    image = publish_server(registry, "acme/server", user="app", passwd="app:x:1234:4321::/:/bin/sh\n")
    create(cluster, namespace, pod("server", asking(model), image=image, securityContext={}))
    (made,) = made_pods(cluster, namespace)
    assert is_rewritten(made, model)
    security = made["spec"]["initContainers"][0]["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"]) == (1234, 4321)


def test_the_same_as_written_into_the_file(
    cluster: Kubernetes, namespace: str, model: Model, replica: Replica, tmp_path: Path
) -> None:
    """`modelcar inject --resolve` at home, and the webhook: two doors to one function."""
    file = tmp_path / "server.yaml"
    # The API server mounts its token into what it sees, and of what comes later it sees nothing.
    made = template(asking(model), automountServiceAccountToken=False)
    file.write_text(yaml.safe_dump(WORKLOADS["Deployment"](made)))
    injected = run(BIN / "modelcar", "inject", "--resolve", "-f", file).stdout
    create(cluster, namespace, yaml.safe_load(file.read_text()))
    left_alone = make_namespace(cluster, f"{namespace}-alone", {"modelcar.dev/inject": "false"})
    try:
        create(cluster, left_alone, yaml.safe_load(injected))
        (one,), (other,) = made_pods(cluster, namespace), made_pods(cluster, left_alone)
    finally:
        cluster.kubectl("delete", "namespace", left_alone, "--wait=false")
    assert is_rewritten(one, model)
    assert one["spec"] == other["spec"]


def test_other_pods_never_come_here(cluster: Kubernetes, namespace: str, replica: Replica) -> None:
    before = replica.count("request_seconds_count")
    for n, notes in enumerate(({}, {"example.com/model": "oci://x/y"}, {"modelcar.example/path": "/mnt"})):
        assert "created" in create(cluster, namespace, pod(f"p{n}", notes))
    s3 = {"internal.serving.kserve.io/storage-initializer-sourceuri": "s3://bucket/model"}
    assert "created" in create(cluster, namespace, pod("s3", s3))
    cluster.kubectl("-n", namespace, "label", "pod", "p0", "a=b")
    assert len(made_pods(cluster, namespace, 4)) == 4
    assert replica.count("request_seconds_count") == before


def test_what_is_switched_off_is_left_alone(
    cluster: Kubernetes, namespace: str, model: Model, replica: Replica
) -> None:
    before = replica.count("request_seconds_count")
    labelled = pod("labelled", asking(model))
    labelled["metadata"]["labels"]["modelcar.dev/inject"] = "false"
    create(cluster, namespace, labelled)
    assert replica.count("request_seconds_count") == before
    cluster.kubectl("label", "namespace", namespace, "modelcar.dev/inject=false")
    eventually(lambda: not would_be_rewritten(cluster, namespace, model), "the label is seen", within=30)
    before = replica.count("request_seconds_count")
    create(cluster, namespace, pod("server", asking(model)))
    assert [is_rewritten(made, model) for made in made_pods(cluster, namespace, 2)] == [False, False]
    assert replica.count("request_seconds_count") == before


@pytest.mark.parametrize("where", ["kube-system", "modelcar-system", "registry-shim"])
def test_what_the_cluster_needs_itself_does_not_depend_on_it(
    where: str, cluster: Kubernetes, model: Model, replica: Replica
) -> None:
    before = replica.count("request_seconds_count")
    confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    strict = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    containers = [{"name": "server", "image": "registry.invalid/server:v1", "securityContext": confined}]
    body = pod("server", asking(model), containers=containers, securityContext=strict)
    status, made, _ = cluster.request("POST", f"/api/v1/namespaces/{where}/pods?dryRun=All", body)
    assert status == 201, made
    assert not is_rewritten(made, model)
    assert replica.count("request_seconds_count") == before


def test_dry_run(cluster: Kubernetes, namespace: str, model: Model, replica: Replica) -> None:
    before = replica.count("decisions_total", decision="patched", dry_run="true")
    said = create(cluster, namespace, pod("server", asking(model)), "--dry-run=server", "-o", "json")
    assert is_rewritten(json.loads(said), model)
    assert replica.count("decisions_total", decision="patched", dry_run="true") == before + 1
    assert cluster.get("-n", namespace, "pods")["items"] == []


def test_a_denial_as_kubectl_shows_it(cluster: Kubernetes, namespace: str, model: Model, replica: Replica) -> None:
    said = create(cluster, namespace, pod("server", {"modelcar.dev/model": "registry.example/acme/llm:v1"}))
    line = (
        'Error from server (Forbidden): error when creating "STDIN": admission webhook "pods.modelcar.dev" denied the '
        "request: modelcar.dev/model is 'registry.example/acme/llm:v1', and not an image; it looks like "
        "oci://registry/repository:tag"
    )
    assert said.splitlines() == [line]
    assert "denied: modelcar.dev/model is 'registry.example/acme/llm:v1'" in replica.log.read_text()


def test_a_denial_of_a_deployments_pod_is_seen_there(
    cluster: Kubernetes, namespace: str, model: Model, replica: Replica
) -> None:
    create(cluster, namespace, WORKLOADS["Deployment"](template(asking(model), hostPID=True)))

    def told() -> str:
        conditions = cluster.get("-n", namespace, "deployment", "server").get("status", {}).get("conditions", [])
        return " ".join(c["message"] for c in conditions if c["type"] == "ReplicaFailure")

    eventually(lambda: "hostPID" in told(), "the Deployment says why", within=30)


def test_warnings_reach_whoever_applies(cluster: Kubernetes, namespace: str, model: Model, replica: Replica) -> None:
    said = create(cluster, namespace, pod("server", asking(model) | {"modelcar.dev/modle": "x"}))
    assert said.splitlines()[-1] == "Warning: annotation modelcar.dev/modle is not known"
    (made,) = made_pods(cluster, namespace)
    assert is_rewritten(made, model)
