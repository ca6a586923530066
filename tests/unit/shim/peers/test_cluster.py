"""Several nodes as one cache."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest

from modelcar.cache.origins import Origins
from modelcar.errors import Unreachable
from modelcar.lazy.grid import Grid
from registry_shim.peers.members import Member
from registry_shim.peers.membership import Membership
from registry_shim.peers.source import PeerSource
from tests.support.chunks import Content, Fault, MemorySource
from tests.support.waiting import eventually
from tests.unit.shim.peers.cluster import PATIENT, TRUSTING, Node, cluster, pull, pull_all

pytestmark = pytest.mark.slow

CHUNK = 1 << 20  # bytes: a quarter of what images have, and a quarter of the work


@pytest.fixture(scope="module")
def content() -> Content:
    return Content(12 * CHUNK + 1000)


def fetched(nodes: list[Node]) -> int:
    return sum(node.upstream.sent for node in nodes)


@pytest.mark.parametrize("table", [True, False])
def test_the_upstream_gives_every_byte_once(tmp_path: Path, content: Content, table: bool) -> None:
    grid = content.table(CHUNK) if table else None
    with cluster(tmp_path, content, 4, settings=TRUSTING, fetching=PATIENT) as nodes:
        assert all(data == content.data for data in pull_all(nodes, content, grid))
        assert fetched(nodes) == len(content.data)
        used = [node for node in nodes if node.upstream.sent]
        assert len(used) > 1 if table else len(used) == 1


def test_who_comes_later_takes_nothing_from_the_upstream(tmp_path: Path, content: Content) -> None:
    with cluster(tmp_path, content, 3, settings=TRUSTING, fetching=PATIENT) as nodes:
        pull_all(nodes[:2], content, content.table(CHUNK))
        assert pull(nodes[2], content, content.table(CHUNK)) == content.data
        assert fetched(nodes) == len(content.data)


def test_a_node_that_is_gone_is_done_without(tmp_path: Path, content: Content) -> None:
    with cluster(tmp_path, content, 4) as nodes:
        nodes[3].stop()
        assert all(data == content.data for data in pull_all(nodes[:3], content, content.table(CHUNK)))
        assert fetched(nodes) <= 1.5 * len(content.data)


def test_homes_that_cannot_reach_the_upstream_do_not_keep_others_from_it(tmp_path: Path, content: Content) -> None:
    with cluster(tmp_path, content, 3) as nodes:
        nodes[0].upstream.faults.append(Fault(times=10_000, refuse=Unreachable("no way there")))
        assert pull(nodes[1], content, content.table(CHUNK)) == content.data


def test_a_lying_peer_is_found_out_and_left_alone(tmp_path: Path, content: Content) -> None:
    """It holds a whole blob that its disk has damaged."""
    with cluster(tmp_path, content, 3) as nodes:
        liar = nodes[0]
        pull(liar, content, content.table(CHUNK))
        eventually(lambda: liar.cache.contains(content.digest))
        path = liar.cache.layout.path(content.digest)
        path.chmod(0o600)
        path.write_bytes(bytes(len(content.data)))
        assert all(data == content.data for data in pull_all(nodes[1:], content, content.table(CHUNK)))
        assert fetched(nodes[1:]) == len(content.data)
        for node in nodes[1:]:
            assert [m.name for m in node.peers.membership.ring()] == sorted(n.name for n in nodes[1:])


def test_what_is_small_and_cannot_be_verified_in_part_comes_from_the_upstream(tmp_path: Path) -> None:
    small = Content(1000)
    with cluster(tmp_path, small, 3) as nodes:
        pull(nodes[0], small, None)
        eventually(lambda: nodes[0].cache.contains(small.digest))
        path = nodes[0].cache.layout.path(small.digest)
        path.chmod(0o600)
        path.write_bytes(bytes(len(small.data)))
        assert all(data == small.data for data in pull_all(nodes[1:], small, None))
        assert fetched(nodes[1:]) == 2 * len(small.data)


def test_a_zone_takes_each_chunk_from_the_rest_of_the_world_about_once(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossed = Counter[str]()

    def succeeded(self: Membership, member: Member, size: int = 0, seconds: float = 0.0) -> None:
        if member.zone != self.me.zone:
            crossed[self.me.zone] += size

    monkeypatch.setattr(Membership, "succeeded", succeeded)
    with cluster(tmp_path, content, 6, zones=["a", "a", "a", "b", "b", "b"]) as nodes:
        assert all(data == content.data for data in pull_all(nodes, content, content.table(CHUNK)))
        assert fetched(nodes) == len(content.data)
    assert crossed.keys() == {"a", "b"}
    assert crossed.total() < 1.5 * len(content.data)  # three times as much without zones; hedges may add a chunk or two


def test_a_slow_upstream_does_not_send_everyone_there(tmp_path: Path, content: Content) -> None:
    """Chunks that are on their way are waited for, longer than a request is held."""
    gate = threading.Event()
    with cluster(tmp_path, content, 3) as nodes:
        for node in nodes:
            node.upstream.gate = gate
        timer = threading.Timer(2.0, gate.set)
        timer.start()
        assert all(data == content.data for data in pull_all(nodes, content, content.table(CHUNK)))
        assert fetched(nodes) == len(content.data)


def test_a_member_that_joins_becomes_a_home(tmp_path: Path, content: Content) -> None:
    with cluster(tmp_path, content, 4) as nodes:
        late = nodes[3].peers.membership.me
        for node in nodes[:3]:
            node.peers.membership.replace(m for m in node.peers.membership.ring() if m != late)
        pull_all(nodes[:3], content, content.table(CHUNK))
        assert nodes[3].upstream.sent == 0
        other = Content(12 * CHUNK, seed=2)
        for node in nodes[:3]:
            node.peers.membership.replace([*node.peers.membership.ring(), late])
            node.router.sources = (MemorySource(other.data),)
        nodes[3].router.sources = (mine := MemorySource(other.data),)
        for node in nodes:
            node.access.size = len(other.data)
        eventually(lambda: all(late in node.peers.membership.reliable() for node in nodes[:3]))
        assert all(data == other.data for data in pull_all(nodes[:3], other, other.table(CHUNK)))
        assert mine.sent > 0


def test_peers_that_do_not_answer_take_few_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many blobs begin meanwhile."""
    content = Content(3 * CHUNK)
    answer = threading.Event()
    looking: list[str] = []

    def look(self: PeerSource, grid: Grid) -> None:
        looking.append(self.name)
        answer.wait(30)

    monkeypatch.setattr(PeerSource, "look", look)
    monkeypatch.setattr("registry_shim.peers.router._LOOK", 0.01)
    with cluster(tmp_path, content, 5) as nodes:
        eventually(lambda: len(nodes[0].peers.membership.reliable()) == 4)
        router = nodes[0].peers.router_for(nodes[0]._behind)(content.descriptor, Origins())
        for _ in range(5):
            router.background(content.table(CHUNK))
        assert len(looking) == 8
        answer.set()
        eventually(lambda: nodes[0].peers._lookouts._value == 8)
        router.background(content.table(CHUNK))
        eventually(lambda: len(looking) > 8)
