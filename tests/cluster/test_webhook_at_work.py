"""The webhook in everything that a cluster does to it: other webhooks, private registries, replicas, and being away."""

from __future__ import annotations

import base64
import json
import signal
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelcar.admission.server.certificates import Lifetimes, Papers, renewed
from tests.cluster.support.images import Model, publish_model
from tests.cluster.support.pods import asking, is_rewritten, made_pods, pod, would_be_rewritten
from tests.cluster.support.second import ADDED, second_webhook
from tests.cluster.support.webhook import NAMESPACE, Replica, Webhook
from tests.e2e.support.registries import docker_registry
from tests.support.kubernetes import Kubernetes
from tests.support.waiting import eventually

pytestmark = pytest.mark.conformance

SECRET = "modelcar-webhook-certificates"


@pytest.fixture(autouse=True)
def fresh(webhook: Webhook) -> Iterator[None]:
    """Every test begins as an installation does: without a certificate."""
    webhook.configure()
    yield
    webhook.cluster.kubectl("-n", NAMESPACE, "delete", "secret", SECRET, "--ignore-not-found")


def create(cluster: Kubernetes, namespace: str, body: object) -> str:
    return cluster.kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(body), check=False)


def shown(replica: Replica) -> str:
    """Its certificate, as the API server sees it."""
    return ssl.get_server_certificate(replica.address)


def trusted(cluster: Kubernetes) -> bytes:
    (one,) = cluster.get("mutatingwebhookconfiguration", "modelcar")["webhooks"]
    return base64.b64decode(one["clientConfig"].get("caBundle", ""))


def stored(cluster: Kubernetes) -> Papers:
    data = cluster.get("-n", NAMESPACE, "secret", SECRET)["data"]
    papers = Papers.from_data({name: base64.b64decode(value) for name, value in data.items()})
    assert papers is not None
    return papers


def test_what_another_webhook_adds_later_is_seen_and_nothing_is_done_twice(
    webhook: Webhook, namespace: str, model: Model, tmp_path: Path
) -> None:
    cluster = webhook.cluster
    every = asking(model, container="*")
    with webhook.running() as (replica,), second_webhook(cluster, tmp_path, namespace):

        def again() -> list[str]:
            path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
            status, made, _ = cluster.request("POST", path, pod("probe", every))
            assert status == 201, made
            return [container["name"] for container in made["spec"]["containers"]]

        eventually(lambda: again() == [ADDED["name"], "server"], "the other one is asked", within=30)
        before = {d: replica.count("decisions_total", decision=d, dry_run="false") for d in ("patched", "allowed")}
        assert "created" in create(cluster, namespace, pod("server", every))
        (made,) = made_pods(cluster, namespace)
        assert is_rewritten(made, model)
        # A container that came after our first answer has the model, too.
        seen = [[m["mountPath"] for m in c["volumeMounts"]] for c in made["spec"]["containers"]]
        assert all("/mnt/models" in paths for paths in seen), seen
        assert replica.count("decisions_total", decision="patched", dry_run="false") == before["patched"] + 2
        # Where it is none of ours, the second answer changes nothing.
        assert "created" in create(cluster, namespace, pod("one", asking(model, container="server")))
        assert replica.count("decisions_total", decision="patched", dry_run="false") == before["patched"] + 3
        assert replica.count("decisions_total", decision="allowed", dry_run="false") == before["allowed"] + 1


def test_while_it_is_away_pods_that_ask_for_a_model_wait_and_no_others(
    webhook: Webhook, namespace: str, model: Model
) -> None:
    cluster = webhook.cluster
    with webhook.running() as (replica,):
        assert would_be_rewritten(cluster, namespace, model)
        replica.process.send_signal(signal.SIGKILL)
        replica.process.wait()
        said = create(cluster, namespace, pod("server", asking(model)))
        assert 'failed calling webhook "pods.modelcar.dev"' in said
        assert "created" in create(cluster, namespace, pod("other", {}))
    with webhook.running():
        assert "created" in create(cluster, namespace, pod("server", asking(model)))
    rewritten = {made["metadata"]["name"]: is_rewritten(made, model) for made in made_pods(cluster, namespace, 2)}
    assert rewritten == {"server": True, "other": False}


def test_kill_switch(webhook: Webhook, namespace: str, model: Model) -> None:
    cluster = webhook.cluster
    with webhook.running() as (replica,):
        assert would_be_rewritten(cluster, namespace, model)
        webhook.configure(enabled=False)
        replica.process.send_signal(signal.SIGHUP)
        eventually(lambda: not would_be_rewritten(cluster, namespace, model), "it is switched off", within=30)
        assert replica.count("enabled") == 0
        webhook.configure()
        replica.process.send_signal(signal.SIGHUP)
        eventually(lambda: would_be_rewritten(cluster, namespace, model), "it is on again", within=30)


@pytest.mark.debian("docker-registry")
def test_images_behind_a_login_open_to_the_secrets_of_the_pods_account(
    webhook: Webhook, namespace: str, workspace: Path, tmp_path: Path
) -> None:
    cluster = webhook.cluster
    with docker_registry(tmp_path / "registry") as open_to_all:
        pushed = publish_model(tmp_path / "model", f"{open_to_all}/secret/llm:v1")
    with docker_registry(tmp_path / "registry", users={"robot": "pass word"}) as private, webhook.running():
        model = Model(ref=f"{private}/secret/llm:v1", digest=pushed.digest)
        required = asking(model, affinity="required")  # without the digest this cannot be
        said = create(cluster, namespace, pod("server", required))
        assert "denied the request" in said
        assert "created" not in said
        login = ("--docker-username=robot", "--docker-password=pass word", f"--docker-server={private}")
        cluster.kubectl("-n", namespace, "create", "secret", "docker-registry", "pull", *login)
        allowed = {"imagePullSecrets": [{"name": "pull"}]}
        cluster.kubectl("-n", namespace, "patch", "serviceaccount", "default", "-p", json.dumps(allowed))
        # What could not be had is remembered for a moment.
        eventually(lambda: "created" in create(cluster, namespace, pod("server", required)), "it is opened", within=60)
        (made,) = made_pods(cluster, namespace)
        assert is_rewritten(made, model)
        other = {"metadata": {"name": "other", "namespace": namespace}}
        cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", **other})
        said = create(cluster, namespace, pod("nosy", required, serviceAccountName="other"))
        assert "denied the request" in said


def test_replicas_that_start_at_once_share_one_certificate(webhook: Webhook, namespace: str, model: Model) -> None:
    cluster = webhook.cluster
    assert "NotFound" in cluster.kubectl("-n", NAMESPACE, "get", "secret", SECRET, check=False)
    with webhook.running("one", "two") as replicas:
        papers = stored(cluster)
        assert {shown(replica) for replica in replicas} == {papers.to_data()["tls.crt"].decode()}
        assert trusted(cluster) == papers.bundle
        replicas[0].process.send_signal(signal.SIGKILL)
        replicas[0].process.wait()
        webhook.service.cut()
        assert would_be_rewritten(cluster, namespace, model)


def test_no_pod_waits_while_authority_and_certificate_are_renewed(
    webhook: Webhook, namespace: str, model: Model
) -> None:
    cluster, now = webhook.cluster, datetime.now(UTC)
    service = f"modelcar-webhook.{NAMESPACE}"
    names = [f"{service}.svc", f"{service}.svc.cluster.local", service, "modelcar-webhook"]
    # An authority that is old, and a new one that may issue in a moment.
    old = renewed(None, names, Lifetimes(), now - timedelta(days=500))
    before = renewed(old, names, Lifetimes(), now - Lifetimes().overlap + timedelta(seconds=25))
    assert len(before.authorities) == 2
    data = {name: base64.b64encode(value).decode() for name, value in before.to_data().items()}
    meta = {"name": SECRET, "namespace": NAMESPACE}
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})
    with webhook.running("one", "two") as replicas:
        first = {shown(replica) for replica in replicas}
        assert first == {before.to_data()["tls.crt"].decode()}

        def renewed_everywhere() -> bool:
            assert would_be_rewritten(cluster, namespace, model)
            webhook.service.cut()  # as many handshakes as requests
            return not first & {shown(replica) for replica in replicas}

        eventually(renewed_everywhere, "both have another certificate", within=120)
        after = stored(cluster)
        assert {shown(replica) for replica in replicas} == {after.to_data()["tls.crt"].decode()}
        assert before.authorities[0].issued(after.server.certificate)
        assert trusted(cluster) == before.bundle
        assert all(replica.count("decisions_total", decision="patched") for replica in replicas)
