"""What a node answers to its peers, byte by byte, over a real socket."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from modelcar.cache.lease import Lease, Purpose
from modelcar.cache.origin import Origin
from modelcar.errors import Denied, Unauthorized, Unreachable, UsageError
from modelcar.layers.hashing import CHUNK_SIZE, Chunk
from modelcar.lazy.grid import Grid
from modelcar.oci import Descriptor, Digest
from registry_shim.peers.access import Admitted
from registry_shim.peers.peers import Peers
from registry_shim.peers.protocol import unpack_map
from registry_shim.peers.settings import PeerSettings
from tests.support.chunks import Content, Fault, MemorySource
from tests.support.waiting import eventually
from tests.unit.shim.peers.cluster import ORIGIN as OF
from tests.unit.shim.peers.cluster import Node, free_addresses, pull

pytestmark = pytest.mark.slow

ORIGIN = {"Modelcar-Origin": "registry.example/org/model", "Modelcar-Peer": "10.9.9.9:1"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@pytest.fixture(scope="module")
def content() -> Content:
    return Content(2 * CHUNK_SIZE + 1000)


@pytest.fixture
def node(tmp_path: Path, content: Content) -> Iterator[Node]:
    """Alone in its world, so it is the home of everything."""
    with free_addresses(1) as (address,):
        settings = PeerSettings(listen=address, members=(address,), hold_seconds=0.2)
        with Node(tmp_path, settings, MemorySource(content.data)) as node:
            yield node


@pytest.fixture
def stranger(tmp_path: Path, content: Content) -> Iterator[Node]:
    """One that is the home of nothing: of so many members others are before it."""
    others = tuple(f"10.0.0.{n}" for n in range(200))
    with free_addresses(1) as (address,):
        settings = PeerSettings(listen=address, members=(address, *others), hold_seconds=0.2)
        with Node(tmp_path, settings, MemorySource(content.data)) as node:
            eventually(lambda: len(node.peers.membership.ring()) > 200)
            yield node


def ask(node: Node, method: str, path: str, body: bytes | None = None, /, **headers: str) -> Answer:
    connection = http.client.HTTPConnection(node.name, timeout=10)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, f"/peer/v1/{path}", body=body, headers={**ORIGIN, **given})
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def introduce(node: Node, grid: Grid) -> None:
    assert ask(node, "PUT", f"grids/{grid.digest}/{grid.name}", grid.to_json()).status == 201


def blob(node: Node, grid: Grid, start: int, stop: int, **headers: str) -> Answer:
    size = {"Modelcar-Size": str(grid.size)}
    return ask(
        node, "GET", f"blobs/{grid.digest}/{grid.name}", None, Range=f"bytes={start}-{stop - 1}", **size, **headers
    )


def test_a_home_fetches_what_it_is_asked_for_and_no_more(node: Node, content: Content) -> None:
    grid = content.table()
    assert blob(node, grid, 0, 10).status == 409
    introduce(node, grid)
    answer = blob(node, grid, CHUNK_SIZE, 2 * CHUNK_SIZE)
    assert answer.status == 206
    assert answer.body == content.data[CHUNK_SIZE : 2 * CHUNK_SIZE]
    assert answer.headers["Content-Range"] == f"bytes {CHUNK_SIZE}-{2 * CHUNK_SIZE - 1}/{grid.size}"
    assert answer.headers["Modelcar-Sending"] == "1"
    assert node.upstream.sent == CHUNK_SIZE
    assert unpack_map(blob(node, grid, CHUNK_SIZE, CHUNK_SIZE + 1).headers["Modelcar-Have"], 3) == b"\2"


def test_who_is_no_home_gives_what_it_has_and_fetches_nothing(stranger: Node, content: Content) -> None:
    grid = content.table()
    introduce(stranger, grid)
    mine = [n for n in range(3) if blob(stranger, grid, *_bounds(grid, n)).status != 404]
    assert len(mine) <= 1  # it may be the third in line for one of them
    assert stranger.upstream.sent <= CHUNK_SIZE
    pull(stranger, content, None)
    answers = [blob(stranger, grid, *_bounds(grid, n)) for n in range(3)]
    assert b"".join(answer.body for answer in answers) == content.data
    assert ask(stranger, "HEAD", f"blobs/{grid.digest}/{grid.name}/have").headers["Modelcar-Have"] == "all"


def test_what_came_whole_under_another_table_is_found_at_once(stranger: Node, content: Content) -> None:
    grid = content.table()
    introduce(stranger, grid)
    with stranger.cache.lease(OF, content.descriptor, grid=grid, purpose=Purpose.PEER) as lease:
        lease.need(0, CHUNK_SIZE)
        lease.when(0, CHUNK_SIZE).result(10)
    assert blob(stranger, grid, *_bounds(grid, 0)).status == 206
    pull(stranger, content, None)
    assert blob(stranger, grid, *_bounds(grid, 2)).body == content.data[2 * CHUNK_SIZE :]
    assert ask(stranger, "HEAD", f"blobs/{grid.digest}/{grid.name}/have").headers["Modelcar-Have"] == "all"


def _bounds(grid: Grid, number: int) -> tuple[int, int]:
    start, size = grid.bounds(number)
    return start, start + size


def test_nobody_fetches_for_the_one_it_would_ask_itself(tmp_path: Path) -> None:
    """Two nodes that differ about the members would wait for each other."""
    content = Content(8 * CHUNK_SIZE)
    with ExitStack() as stack:
        mine, other = stack.enter_context(free_addresses(2))
        settings = PeerSettings(listen=mine, members=(mine, other))
        node = stack.enter_context(Node(tmp_path, settings, MemorySource(content.data)))
        eventually(lambda: len(node.peers.membership.ring()) == 2)
        grid, homes = content.table(), node.peers._directions
        others = [n for n in range(8) if homes.plan(grid).zone[n].name == other]
        assert others
        assert all(homes.accepts(grid, n, "10.9.9.9:1") for n in range(8))
        assert [n for n in range(8) if not homes.accepts(grid, n, other)] == others


def test_what_cannot_be_verified_leaves_only_as_a_whole(node: Node, content: Content) -> None:
    node.upstream.faults.append(Fault(at=len(content.data) - 1, stall=0, times=1))
    grid = content.plain
    assert blob(node, grid, 0, 100).status == 503
    eventually(lambda: node.upstream.sent >= CHUNK_SIZE)
    assert blob(node, grid, 0, 100).status == 503


def test_on_its_way_is_an_answer_and_it_goes_on_meanwhile(node: Node, content: Content) -> None:
    node.upstream.gate = threading.Event()
    grid = content.table()
    introduce(node, grid)
    answer = blob(node, grid, 0, CHUNK_SIZE)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    node.upstream.gate.set()
    assert blob(node, grid, 0, CHUNK_SIZE).body == content.data[:CHUNK_SIZE]
    assert node.upstream.sent == CHUNK_SIZE


@pytest.mark.parametrize(
    ("error", "status"), [(Unauthorized("no token"), 401), (Denied("not yours"), 403), (Unreachable("gone"), 502)]
)
def test_who_may_not_read_gets_nothing(
    node: Node, content: Content, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    pull(node, content, content.table())

    async def refuse(origin: Origin, digest: Digest) -> Admitted:
        assert origin.authorization == "Bearer t0ken"
        raise error

    monkeypatch.setattr(node.access, "admit", refuse)
    answer = blob(node, content.table(), 0, 10, Modelcar_Authorization="Bearer t0ken")
    assert answer.status == status
    assert b"t0ken" not in answer.body
    assert (
        ask(node, "GET", f"blobs/{content.digest}/plain/have", Modelcar_Authorization="Bearer t0ken").status == status
    )


def test_a_table_goes_by_its_own_name(node: Node, content: Content) -> None:
    grid, other = content.table(), content.table(CHUNK_SIZE // 2)
    assert ask(node, "PUT", f"grids/{grid.digest}/{other.name}", grid.to_json()).status == 400
    assert ask(node, "PUT", f"grids/{Digest.of(b'')}/{grid.name}", grid.to_json()).status == 400
    assert ask(node, "PUT", f"grids/{grid.digest}/plain", content.plain.to_json()).status == 400
    assert ask(node, "PUT", f"grids/{grid.digest}/{grid.name}", b"{").status == 400


@pytest.mark.parametrize("size", [1, 10**18])
def test_nobody_is_wrong_about_a_size_at_the_cost_of_others(node: Node, content: Content, size: int) -> None:
    """Room would be made for that much, and a table of its chunks; those who pull the blob would get a part of it."""
    node.upstream.gate = threading.Event()
    asked = {"Range": "bytes=0-0", "Modelcar-Size": str(size)}
    assert ask(node, "GET", f"blobs/{content.digest}/plain", None, **asked).status == 404
    table = Grid(content.digest, 1, (Chunk(offset=0, size=1, digest=Digest.of(b"x")),))
    introduce(node, table)
    assert blob(node, table, 0, 1).status == 404
    assert not node.cache.status()
    node.upstream.gate.set()
    assert pull(node, content, None) == content.data


def test_one_blob_that_takes_long_to_begin_holds_up_no_other(
    node: Node, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, fetch = threading.Event(), threading.Event(), node.cache.lease

    def lease(origin: Origin, descriptor: Descriptor, **how: Any) -> Lease:
        if how["grid"].name == slow.name:
            begun.set()
            go_on.wait(10)
        return fetch(origin, descriptor, **how)

    slow, fast = content.table(CHUNK_SIZE // 2), content.table()
    introduce(node, slow)
    introduce(node, fast)
    monkeypatch.setattr(node.cache, "lease", lease)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(blob, node, slow, 0, 10)
        assert begun.wait(10)
        assert blob(node, fast, 0, 10).body == content.data[:10]
        assert not waiting.done()
        go_on.set()
        assert waiting.result().body == content.data[:10]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("blobs/sha256:abc/plain", {"Range": "bytes=0-9"}, 400),
        (f"blobs/{Digest.of(b'')}/plain", {}, 400),
        (f"blobs/{Digest.of(b'')}/plain", {"Range": "bytes=0-"}, 400),
        (f"blobs/{Digest.of(b'')}/plain", {"Range": "bytes=0-9", "Modelcar-Size": "x"}, 400),
        (f"blobs/{Digest.of(b'')}/plain", {"Range": "bytes=0-9", "Modelcar-Size": "5"}, 404),
        (f"blobs/{Digest.of(b'')}/plain", {"Range": "bytes=0-9", "Modelcar-Origin": "nothing"}, 400),
        (f"blobs/{Digest.of(b'')}/plain", {"Range": "bytes=0-9", "Modelcar-Origin": "a.example/UP"}, 400),
        (f"blobs/{Digest.of(b'')}/../../etc", {"Range": "bytes=0-9"}, 400),
        ("nothing", {}, 404),
    ],
)
def test_nonsense_is_refused(node: Node, path: str, headers: dict[str, str], status: int) -> None:
    assert ask(node, "GET", path, None, **headers).status == status


def test_what_is_too_much_is_told_to_come_again(tmp_path: Path, content: Content) -> None:
    with ExitStack() as stack:
        (address,) = stack.enter_context(free_addresses(1))
        settings = PeerSettings(listen=address, members=(address,), sending_each=1)
        node = stack.enter_context(Node(tmp_path, settings, MemorySource(content.data)))
        pull(node, content, None)
        slow = http.client.HTTPConnection(address, timeout=10)
        length = len(content.data)
        headers = {**ORIGIN, "Range": f"bytes=0-{length - 1}", "Modelcar-Size": str(length)}
        slow.request("GET", f"/peer/v1/blobs/{content.digest}/plain", headers=headers)
        answer = slow.getresponse()
        assert blob(node, content.plain, 0, 10).status == 503
        assert answer.read() == content.data
        slow.close()
        eventually(lambda: blob(node, content.plain, 0, 10).status == 206)


def test_settings_that_let_strangers_in_are_refused(tmp_path: Path) -> None:
    settings = PeerSettings(listen="10.0.0.1:5443", members=("10.0.0.1",))
    with pytest.raises(UsageError, match="there is no TLS"):
        Peers(settings)
    with pytest.raises(UsageError, match="there is no TLS"):
        Peers(replace(settings, listen="0.0.0.0:5443", advertise="127.0.0.1:5443"))
    with pytest.raises(UsageError, match="cannot reach"):
        replace(settings, listen="0.0.0.0:5443")
