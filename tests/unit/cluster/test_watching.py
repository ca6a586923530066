"""Lists that stay up to date, whatever the API server does meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from modelcar.cluster.access import Access
from modelcar.cluster.api import ApiServer, Cluster
from modelcar.cluster.resources import NODES, Resource, name_of
from modelcar.cluster.testing import MemoryCluster
from modelcar.cluster.watching import Followed
from modelcar.errors import ClusterForbidden, ClusterUnreachable, UsageError
from tests.support.api_server import served
from tests.support.cluster_objects import node
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def memory() -> MemoryCluster:
    return MemoryCluster((NODES, node("a")))


@pytest.fixture(params=["memory", "http"])
def cluster(request: pytest.FixtureRequest, memory: MemoryCluster) -> Iterator[Cluster]:
    if request.param == "memory":
        yield memory
        return
    with served(memory) as server:
        client = ApiServer(Access(server=server, context=None))
        yield client
        client.close()


@contextmanager
def following(cluster: Cluster, **selectors: str) -> Iterator[Followed]:
    followed = Followed(cluster, NODES, changed=threading.Event(), pause=0.01, **selectors)
    followed.start()
    try:
        yield followed
    finally:
        followed.close()


def names(followed: Followed) -> list[str] | None:
    found = followed.objects()
    return None if found is None else sorted(name_of(item) for item in found)


def test_it_follows_what_comes_changes_and_goes(cluster: Cluster, memory: MemoryCluster) -> None:
    with following(cluster) as followed:
        eventually(lambda: names(followed) == ["a"])
        memory.create(NODES, node("b"))
        eventually(lambda: names(followed) == ["a", "b"])
        memory.delete(NODES, "a")
        eventually(lambda: names(followed) == ["b"])


def test_only_what_matches(cluster: Cluster, memory: MemoryCluster) -> None:
    memory.create(NODES, node("b"))
    with following(cluster, fields="metadata.name=b") as followed:
        eventually(lambda: names(followed) == ["b"])


def test_before_the_first_list_nothing_is_known_which_is_not_the_same_as_nothing(memory: MemoryCluster) -> None:
    def away(*_: object) -> None:
        raise ClusterUnreachable("away", status=503)

    memory.before = away
    with following(memory) as followed:
        eventually(lambda: len(memory.requests) > 2)
        assert followed.objects() is None
        memory.before = lambda *_: None
        eventually(lambda: names(followed) == ["a"])


def test_what_was_deleted_while_it_could_not_watch_is_gone_afterwards(cluster: Cluster, memory: MemoryCluster) -> None:
    with following(cluster) as followed:
        eventually(lambda: names(followed) == ["a"])

        def forget(method: str, _resource: Resource, _name: str) -> None:
            if method == "watch":
                raise ClusterUnreachable("away", status=503)

        memory.before = forget
        memory.create(NODES, node("b"))
        memory.delete(NODES, "a")
        memory.expire()
        memory.before = lambda *_: None
        eventually(lambda: names(followed) == ["b"])


def test_it_ends_at_once_while_it_watches(cluster: Cluster) -> None:
    with following(cluster) as followed:
        eventually(lambda: names(followed) == ["a"])
    assert not followed._thread.is_alive()


def test_a_token_that_cannot_be_read_any_more_is_a_refusal(memory: MemoryCluster) -> None:
    def gone() -> str:
        raise UsageError("cannot read token: No such file or directory")

    with served(memory) as server:
        client = ApiServer(Access(server=server, context=None, token=gone))
        with pytest.raises(ClusterForbidden, match="cannot read token"):
            client.list(NODES)
        client.close()
