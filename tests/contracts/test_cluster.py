"""What every `Cluster` does: the one in memory, and the client of an API server in front of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelcar.cluster.access import Access
from modelcar.cluster.api import ApiServer, Cluster, Event
from modelcar.cluster.resources import MODEL_CACHES, NODES, PODS, SECRETS, Object, name_of
from modelcar.cluster.testing import MemoryCluster
from modelcar.errors import (
    ClusterError,
    ClusterForbidden,
    ClusterUnreachable,
    Conflict,
    Expired,
    InvalidObject,
    ObjectNotFound,
    UsageError,
)
from modelcar.registry.cancel import Cancelled, CancelScope
from tests.support.api_server import served

pytestmark = pytest.mark.slow


@pytest.fixture
def memory() -> MemoryCluster:
    return MemoryCluster()


@pytest.fixture(params=["memory", "http"])
def cluster(request: pytest.FixtureRequest, memory: MemoryCluster) -> Iterator[Cluster]:
    if request.param == "memory":
        yield memory
        return
    with served(memory) as server:
        client = ApiServer(Access(server=server, context=None))
        yield client
        client.close()


def secret(name: str, namespace: str = "default", **labels: str) -> Object:
    meta: dict[str, Any] = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"key": "dmFsdWU="}}


def node(name: str, **labels: str) -> Object:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def cache(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"image": "ghcr.io/acme/llm:v1", **spec}}


def test_what_is_created_is_there(cluster: Cluster) -> None:
    made = cluster.create(SECRETS, secret("a"))
    assert made["metadata"]["uid"]
    assert cluster.get(SECRETS, "a", "default") == made
    cluster.delete(SECRETS, "a", "default")
    with pytest.raises(ObjectNotFound):
        cluster.get(SECRETS, "a", "default")


def test_the_same_name_twice_is_a_conflict(cluster: Cluster) -> None:
    cluster.create(SECRETS, secret("a"))
    with pytest.raises(Conflict) as caught:
        cluster.create(SECRETS, secret("a"))
    assert caught.value.reason == "AlreadyExists"
    cluster.create(SECRETS, secret("a", "other"))  # another namespace is another name


def test_of_two_who_read_and_replace_the_second_is_told(cluster: Cluster) -> None:
    mine = cluster.create(SECRETS, secret("a"))
    theirs = cluster.get(SECRETS, "a", "default")
    mine["data"] = {"key": "bWluZQ=="}
    cluster.replace(SECRETS, mine)
    theirs["data"] = {"key": "dGhlaXJz"}
    with pytest.raises(Conflict):
        cluster.replace(SECRETS, theirs)
    assert cluster.get(SECRETS, "a", "default")["data"] == {"key": "bWluZQ=="}


def test_a_merge_patch_compares_a_version_that_it_holds(cluster: Cluster) -> None:
    old = cluster.create(SECRETS, secret("a"))
    cluster.patch(SECRETS, "a", {"data": {"other": "eA=="}}, "default")
    stale = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"key": None}}
    with pytest.raises(Conflict):
        cluster.patch(SECRETS, "a", stale, "default")


def test_patches_of_both_kinds(cluster: Cluster) -> None:
    cluster.create(NODES, node("n", keep="1", drop="2"))
    merged = cluster.patch(NODES, "n", {"metadata": {"labels": {"drop": None, "new/one": "3"}}})
    assert merged["metadata"]["labels"] == {"keep": "1", "new/one": "3"}
    path = "/metadata/labels/new~1one"
    patched = cluster.patch(
        NODES, "n", [{"op": "test", "path": path, "value": "3"}, {"op": "replace", "path": path, "value": "4"}]
    )
    assert patched["metadata"]["labels"] == {"keep": "1", "new/one": "4"}
    with pytest.raises(InvalidObject):
        cluster.patch(NODES, "n", [{"op": "test", "path": path, "value": "wrong"}])


def test_selectors(cluster: Cluster) -> None:
    for name, tier in (("a", "gold"), ("b", "tin"), ("c", "gold")):
        cluster.create(SECRETS, secret(name, tier=tier))
    cluster.create(SECRETS, secret("a", "other", tier="gold"))

    def names(**selectors: str) -> list[str]:
        return [name_of(item) for item in cluster.list(SECRETS, "default", **selectors).items]

    assert names(labels="tier=gold") == ["a", "c"]
    assert names(labels="tier in (tin, lead)") == ["b"]
    assert names(labels="tier!=tin", fields="metadata.name!=a") == ["c"]
    assert len(cluster.list(SECRETS, labels="tier=gold").items) == 3


def test_lists_are_whole_and_say_what_they_are(cluster: Cluster) -> None:
    for number in range(8):
        cluster.create(SECRETS, secret(f"s{number}"))
    listing = cluster.list(SECRETS)
    assert [name_of(item) for item in listing.items] == [f"s{n}" for n in range(8)]
    assert {(item["kind"], item["apiVersion"]) for item in listing.items} == {("Secret", "v1")}


def test_status_and_spec_are_written_apart(cluster: Cluster) -> None:
    made = cluster.create(MODEL_CACHES, cache("llm") | {"status": {"phase": "Ready"}})
    assert "status" not in made
    told = cluster.patch(MODEL_CACHES, "llm", {"status": {"phase": "Ready"}}, subresource="status")
    assert (told["status"], told["metadata"]["generation"]) == ({"phase": "Ready"}, 1)
    changed = cluster.patch(MODEL_CACHES, "llm", {"spec": {"priority": 3}, "status": {"phase": "Failed"}})
    assert (changed["status"], changed["metadata"]["generation"]) == ({"phase": "Ready"}, 2)


def test_a_finalizer_holds_what_is_deleted(cluster: Cluster) -> None:
    held = cache("llm")
    held["metadata"]["finalizers"] = ["modelcar.dev/in-use"]
    cluster.create(MODEL_CACHES, held)
    cluster.delete(MODEL_CACHES, "llm")
    assert cluster.get(MODEL_CACHES, "llm")["metadata"]["deletionTimestamp"]
    cluster.patch(MODEL_CACHES, "llm", {"metadata": {"finalizers": None}})
    with pytest.raises(ObjectNotFound):
        cluster.get(MODEL_CACHES, "llm")


def test_a_watch_tells_what_happens_from_a_version_on(cluster: Cluster) -> None:
    cluster.create(NODES, node("before"))
    version = cluster.list(NODES).version
    cluster.create(NODES, node("n", zone="a"))
    cluster.patch(NODES, "n", {"metadata": {"labels": {"zone": "b"}}})
    cluster.create(SECRETS, secret("another-kind"))
    cluster.delete(NODES, "n")
    events = cluster.watch(NODES, version=version, seconds=30)
    told = [next(events) for _ in range(3)]
    assert [(event.type, name_of(event.object)) for event in told] == [
        ("ADDED", "n"),
        ("MODIFIED", "n"),
        ("DELETED", "n"),
    ]
    events.close()  # type: ignore[attr-defined]  # a generator


def test_what_comes_to_match_or_no_longer_does_comes_and_goes(cluster: Cluster) -> None:
    version = cluster.list(NODES).version
    cluster.create(NODES, node("n"))
    for zone in ("a", "a2", "b"):
        cluster.patch(NODES, "n", {"metadata": {"labels": {"zone": zone}}})
    cluster.create(NODES, node("end", zone="a"))
    told = []
    for event in cluster.watch(NODES, version=version, labels="zone in (a, a2)", seconds=30):
        told.append((event.type, name_of(event.object)))
        if name_of(event.object) == "end":
            break
    assert told == [("ADDED", "n"), ("MODIFIED", "n"), ("DELETED", "n"), ("ADDED", "end")]


def test_a_watch_from_too_long_ago_says_so(cluster: Cluster, memory: MemoryCluster) -> None:
    version = cluster.list(NODES).version
    cluster.create(NODES, node("n"))
    memory.expire()
    with pytest.raises(Expired):
        next(cluster.watch(NODES, version=version, seconds=30))


def test_a_watch_can_be_given_up(cluster: Cluster) -> None:
    version, scope, ended = cluster.list(NODES).version, CancelScope(), threading.Event()
    began: list[Event] = []

    def follow() -> None:
        try:
            with scope.active():
                for event in cluster.watch(NODES, version=version, seconds=600):
                    began.append(event)
                    scope.cancel()
        except (Cancelled, ClusterError):
            ended.set()

    thread = threading.Thread(target=follow)
    thread.start()
    cluster.create(NODES, node("n"))
    thread.join(20)
    assert ended.is_set()
    assert len(began) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, ClusterForbidden), (403, ClusterForbidden), (422, InvalidObject), (503, ClusterUnreachable)],
)
def test_refusals_have_their_kind(
    cluster: Cluster, memory: MemoryCluster, status: int, kind: type[ClusterError]
) -> None:
    def refuse(method: str, *_: object) -> None:
        raise kind("no", status=status)

    memory.before = refuse
    with pytest.raises(kind):
        cluster.create(SECRETS, secret("a"))


def test_names_need_their_namespace(cluster: Cluster) -> None:
    asks: list[Callable[[], object]] = [
        lambda: cluster.get(PODS, "p"),
        lambda: cluster.get(NODES, "n", "default"),
    ]
    for ask in asks:
        with pytest.raises(UsageError):
            ask()
