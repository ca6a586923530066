"""Passes of the controller over a cluster in memory, and the controller as a process over HTTP."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from modelcar.cluster.access import Access
from modelcar.cluster.api import ApiServer
from modelcar.cluster.controller.known_objects import Known
from modelcar.cluster.controller.operator import Controller, ControllerSettings, run
from modelcar.cluster.resources import MODEL_CACHES, MODEL_NODES, NODES, PODS, Object, Resource
from modelcar.cluster.testing import MemoryCluster
from modelcar.errors import ClusterUnreachable, Conflict, ObjectNotFound, WorldError
from tests.support.api_server import served
from tests.support.cluster_objects import GB, IMAGE, cache, check, copy, node, pod
from tests.support.waiting import eventually

# kopf leaves connections open for its process's end.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. <(socket\.socket |"
    r"function \w*(Transport|Connector|Connection|Session|Response)\.__del__)"
    ":pytest.PytestUnraisableExceptionWarning"
)


def small() -> MemoryCluster:
    cluster = MemoryCluster((NODES, node("a")), (NODES, node("b")), (MODEL_CACHES, cache()))
    cluster.check = check
    return cluster


def passes(cluster: MemoryCluster, times: int = 1) -> None:
    """As the controller would, with everything listed anew."""
    controller = Controller(cluster, ControllerSettings())
    for _ in range(times):
        controller.known.refresh(cluster)
        assert controller.reconcile() == []


def tell(cluster: MemoryCluster, name: str, *models: Object) -> None:
    cluster.patch(MODEL_NODES, name, {"status": {"models": list(models)}}, subresource="status")


def model_names(cluster: MemoryCluster, name: str) -> list[str]:
    return [model["image"] for model in cluster.get(MODEL_NODES, name)["spec"]["models"]]


def test_a_cache_becomes_work_of_nodes_and_their_reports_its_status() -> None:
    cluster = small()
    passes(cluster)
    made = cluster.get(MODEL_NODES, "a")
    owner = made["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("Node", cluster.get(NODES, "a")["metadata"]["uid"])
    assert cluster.get(MODEL_CACHES, "llm")["metadata"]["finalizers"] == ["modelcar.dev/in-use"]
    tell(cluster, "a", copy())
    tell(cluster, "b", copy("Downloading", done=4 * GB))
    passes(cluster)
    status = cluster.get(MODEL_CACHES, "llm")["status"]
    assert status["summary"] == {"ready": "1/2", "progress": "70%", "size": "10.0 GB"}


def test_a_pass_that_changes_nothing_writes_nothing() -> None:
    cluster = small()
    passes(cluster, 2)
    cluster.requests.clear()
    passes(cluster)
    assert {method for method, _, _ in cluster.requests} == {"list"}


def test_what_was_in_a_spec_and_is_no_more_is_gone_from_the_server_too() -> None:
    cluster = small()
    cluster.patch(NODES, "a", {"metadata": {"annotations": {"modelcar.dev/cache-limit": "50G"}}})
    passes(cluster)
    assert cluster.get(MODEL_NODES, "a")["spec"]["limit"] == 50 * GB
    cluster.patch(NODES, "a", {"metadata": {"annotations": {"modelcar.dev/cache-limit": None}}})
    passes(cluster)
    assert "limit" not in cluster.get(MODEL_NODES, "a")["spec"]


def test_nodes_join_leave_and_change_their_labels() -> None:
    cluster = small()
    cluster.patch(MODEL_CACHES, "llm", {"spec": {"nodeSelector": {"matchLabels": {"gpu": "yes"}}}})
    cluster.create(NODES, node("c", gpu="yes"))
    passes(cluster)
    assert [model["metadata"]["name"] for model in cluster.list(MODEL_NODES).items] == ["c"]
    cluster.patch(NODES, "a", {"metadata": {"labels": {"gpu": "yes"}}})
    cluster.delete(NODES, "c")
    passes(cluster)
    assert [model["metadata"]["name"] for model in cluster.list(MODEL_NODES).items] == ["a"]


def test_deletion_is_blocked_while_a_pod_uses_it_and_done_afterwards() -> None:
    cluster = small()
    cluster.create(PODS, pod("server", "a"))
    passes(cluster)
    cluster.delete(MODEL_CACHES, "llm")
    passes(cluster, 2)
    held = cluster.get(MODEL_CACHES, "llm")["status"]["conditions"][1]
    assert (held["type"], held["message"]) == ("DeletionBlocked", "used by team/server on a")
    assert model_names(cluster, "a") == [IMAGE]
    cluster.delete(PODS, "server", "team")
    passes(cluster)
    with pytest.raises(ObjectNotFound):
        cluster.get(MODEL_CACHES, "llm")
    assert (model_names(cluster, "a"), model_names(cluster, "b")) == ([], [])


def test_a_cache_is_not_let_go_before_all_nodes_were_told() -> None:
    cluster = small()
    passes(cluster)
    cluster.delete(MODEL_CACHES, "llm")

    def fail(method: str, resource: Resource, name: str) -> None:
        if (method, resource, name) == ("patch", MODEL_NODES, "b"):
            raise ClusterUnreachable("etcd is slow", status=503)

    cluster.before = fail
    controller = Controller(cluster, ControllerSettings())
    controller.known.refresh(cluster)
    (failure,) = controller.reconcile()
    assert "etcd is slow" in str(failure)
    assert model_names(cluster, "a") == [], "one that fails does not keep the others from their work"
    assert cluster.get(MODEL_CACHES, "llm")["metadata"]["finalizers"]


def test_a_finalizer_of_somebody_else_is_never_overwritten() -> None:
    cluster = small()
    controller = Controller(cluster, ControllerSettings())
    controller.known.refresh(cluster)
    cluster.patch(MODEL_CACHES, "llm", {"metadata": {"finalizers": ["theirs"]}})
    assert controller.reconcile() == [], "what changed meanwhile is the next pass's"
    assert cluster.get(MODEL_CACHES, "llm")["metadata"]["finalizers"] == ["theirs"]
    passes(cluster)
    assert cluster.get(MODEL_CACHES, "llm")["metadata"]["finalizers"] == ["theirs", "modelcar.dev/in-use"]


def test_what_was_deleted_unseen_is_found_out() -> None:
    cluster, known = small(), Known()
    known.refresh(cluster)
    cluster.delete(NODES, "b")
    assert len(known.view(cluster).nodes) == 2
    known.refresh(cluster)
    assert [each["metadata"]["name"] for each in known.view(cluster).nodes] == ["a"]


def test_a_list_does_not_undo_an_event_that_came_after_it() -> None:
    cluster, known = small(), Known()
    newer = cluster.patch(NODES, "a", {"metadata": {"labels": {"gpu": "yes"}}})
    newer["metadata"]["resourceVersion"] = "999"
    known.note(NODES, "MODIFIED", newer)
    cluster.patch(NODES, "a", {"metadata": {"labels": {"gpu": "no"}}})
    known.refresh(cluster)
    (seen,) = [each for each in known.view(cluster).nodes if each["metadata"]["name"] == "a"]
    assert seen["metadata"]["labels"]["gpu"] == "yes"


def test_what_a_node_says_of_itself_all_the_time_is_no_change() -> None:
    cluster, known = small(), Known()
    known.refresh(cluster)
    beat = cluster.patch(NODES, "a", {"status": {"images": [{"names": ["x"]}]}}, subresource="status")
    assert known.note(NODES, "MODIFIED", beat) is False
    down = cluster.patch(
        NODES, "a", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, subresource="status"
    )
    assert known.note(NODES, "MODIFIED", down) is True


@contextmanager
def controller(cluster: MemoryCluster, token: str = "", **settings: float) -> Iterator[None]:
    """The process, in a thread. What kopf leaves open for its end is collected here, and not in another test."""
    with served(cluster) as server:
        access = Access(server=server, context=None, token=lambda: token)
        client, loop = ApiServer(access), asyncio.new_event_loop()
        stop = asyncio.Event()
        chosen = ControllerSettings(**{"pause": 0.05, "look": 0.2, "patience": 0.1} | settings)

        def body() -> None:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(run(client, access, chosen, stop=stop))

        thread = threading.Thread(target=body)
        thread.start()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(60)
            assert not thread.is_alive()
            loop.close()
            client.close()
            gc.collect()


def ready(cluster: MemoryCluster) -> str | None:
    found = cluster.get(MODEL_CACHES, "llm").get("status", {}).get("summary", {}).get("ready")
    return str(found) if found else None


def has_begun(cluster: MemoryCluster) -> bool:
    """Both nodes have their work, too: the status may be told first."""
    return ready(cluster) == "0/2" and len(cluster.list(MODEL_NODES).items) == 2


@pytest.mark.slow
def test_the_process_follows_what_happens() -> None:
    cluster = small()
    with controller(cluster):
        eventually(lambda: has_begun(cluster))
        for name in ("a", "b"):
            tell(cluster, name, copy())
        eventually(lambda: ready(cluster) == "2/2")
        cluster.create(NODES, node("c"))
        eventually(lambda: ready(cluster) == "2/3")
        cluster.delete(MODEL_CACHES, "llm")
        eventually(lambda: not cluster.list(MODEL_CACHES).items)


@pytest.mark.slow
def test_its_requests_are_told_of_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    cluster = small()
    with caplog.at_level(logging.DEBUG, "modelcar"), controller(cluster, token="MARKED"):
        eventually(lambda: has_begun(cluster))
    told = [r.getMessage() for r in caplog.records if r.name == "modelcar.cluster.controller.session"]
    assert any(re.fullmatch(r"GET http://127\.0\.0\.1:\d+/apis/modelcar\.dev/\w+/modelcaches", line) for line in told)
    assert "MARKED" not in caplog.text
    assert "resourceVersion" not in caplog.text


@pytest.mark.slow
def test_the_process_outlives_an_api_server_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    cluster, away = small(), threading.Event()

    def before(*_: object) -> None:
        if away.is_set():
            raise ClusterUnreachable("away", status=503)

    with controller(cluster, refresh=0.1):
        eventually(lambda: has_begun(cluster))
        cluster.before = before
        away.set()
        time.sleep(0.5)
        away.clear()
        tell(cluster, "a", copy())
        eventually(lambda: ready(cluster) == "1/2")
    assert not [record for record in caplog.records if record.exc_info and record.name.startswith("modelcar")]


@pytest.mark.slow
def test_two_controllers_at_once_do_no_harm() -> None:
    cluster = small()
    with controller(cluster), controller(cluster):
        eventually(lambda: has_begun(cluster))
        for number in range(5):
            tell(cluster, "a", copy("Downloading", done=number * GB))
            tell(cluster, "b", copy("Downloading", done=number * GB))
        tell(cluster, "a", copy())
        tell(cluster, "b", copy())
        eventually(lambda: ready(cluster) == "2/2")
    assert cluster.get(MODEL_CACHES, "llm")["metadata"]["finalizers"] == ["modelcar.dev/in-use"]


@pytest.mark.slow
def test_a_defect_ends_the_process_and_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr("modelcar.cluster.controller.operator.plan", broken)
    with served(small()) as server:
        access = Access(server=server, context=None)
        client = ApiServer(access)
        with pytest.raises(WorldError, match="RuntimeError: a defect of ours"):
            asyncio.run(run(client, access, ControllerSettings(pause=0.05)))
        client.close()


@pytest.mark.slow
def test_a_port_that_is_taken_is_one_line() -> None:
    with served(small()) as server, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        access = Access(server=server, context=None)
        client = ApiServer(access)
        health = f"http://127.0.0.1:{taken.getsockname()[1]}/healthz"
        with pytest.raises(WorldError, match="address already in use"):
            asyncio.run(run(client, access, ControllerSettings(pause=0.05), liveness=health))
        client.close()


@pytest.mark.slow
def test_it_ends_in_the_midst_of_a_pass() -> None:
    cluster, entered, release = small(), threading.Event(), threading.Event()
    for number in range(50):
        cluster.create(NODES, node(f"n{number}"))

    def slow(method: str, resource: Resource, _name: str) -> None:
        if (method, resource) == ("create", MODEL_NODES):
            entered.set()
            release.wait(30)

    cluster.before = slow
    with controller(cluster):
        assert entered.wait(30)
        threading.Timer(0.2, release.set).start()
    assert len(cluster.list(MODEL_NODES).items) < 50, "what had not begun was left"


def test_conflicts_are_no_failures() -> None:
    cluster = small()
    view = Controller(cluster, ControllerSettings())
    view.known.refresh(cluster)

    def conflict(method: str, *_: object) -> None:
        if method == "create":
            raise Conflict("exists", status=409, reason="AlreadyExists")

    cluster.before = conflict
    assert view.reconcile() == []
