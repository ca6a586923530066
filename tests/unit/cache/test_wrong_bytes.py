"""A cache whose sources send what was not promised: nobody sees it, and one more try is all they get."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from modelcar.cache.holding import Arriving
from modelcar.errors import (
    DigestMismatch,
    InvalidContent,
    ModelcarError,
    RemoteNotFound,
)
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy.grid import Grid
from modelcar.lazy.sources import Outcome, SourceKind
from tests.support.chunks import Content, Fault, MemorySource
from tests.support.waiting import eventually
from tests.unit.cache.leases import TIMEOUT, read

from .conftest import ORIGIN, MakeCache


def test_without_a_table_the_last_chunk_waits_for_the_digest_of_the_whole(
    content: Content, make_cache: MakeCache
) -> None:
    wrong = bytes([content.data[0] ^ 1]) + content.data[1:]
    cache = make_cache(MemorySource(wrong))
    last = len(content.plain) - 1
    edge = content.plain.bounds(last)[0]
    with cache.lease(ORIGIN, content.descriptor) as lease:
        lease.need(0, len(wrong))
        with pytest.raises(DigestMismatch, match=content.digest.hex):
            lease.when(edge, 1).result(TIMEOUT)
        assert lease.available(0) <= edge
        assert lease.available(edge) == 0
        with pytest.raises(InvalidContent):
            lease.slice(edge, 1)
    assert not cache.contains(content.digest)


def test_with_a_table_a_wrong_chunk_is_never_shown(content: Content, make_cache: MakeCache) -> None:
    mirror = MemorySource(bytes(len(content.data)), name="liar", kind=SourceKind.MIRROR)
    good = MemorySource(content.data)
    cache = make_cache(mirror, good)
    with cache.lease(ORIGIN, content.descriptor, grid=content.table()) as lease:
        assert read(lease) == content.data
    assert good.sent == len(content.data)


def test_wrong_content_is_fetched_once_more_and_then_left_alone_for_a_while(
    content: Content, make_cache: MakeCache
) -> None:
    liar = MemorySource(bytes(len(content.data)))
    cache = make_cache(liar)
    for times in (1, 2):
        with cache.lease(ORIGIN, content.descriptor) as lease, pytest.raises(InvalidContent):
            read(lease)
        eventually(lambda: not cache.status())
        assert liar.sent == times * len(content.data)
    with pytest.raises(InvalidContent):
        cache.lease(ORIGIN, content.descriptor)
    assert liar.sent == 2 * len(content.data)


def test_after_wrong_content_the_upstream_alone_is_asked(content: Content, make_cache: MakeCache) -> None:
    wrong = bytes(len(content.data))
    liars = [MemorySource(wrong, name=f"peer{n}", kind=SourceKind.PEER) for n in range(2)]
    mirror = MemorySource(wrong, name="mirror", kind=SourceKind.MIRROR)
    upstream = MemorySource(content.data)
    told: list[tuple[str, Outcome]] = []
    cache = make_cache(*liars, mirror, upstream, told=told)
    tries = 0
    while not cache.contains(content.digest):
        tries += 1
        with cache.lease(ORIGIN, content.descriptor) as lease, suppress(InvalidContent):
            assert read(lease) == content.data
            eventually(lambda: cache.contains(content.digest))
        eventually(lambda: not cache.status())
    assert tries == 4  # each liar sent all of it once
    assert upstream.sent == len(content.data)
    assert {name for name, outcome in told if outcome is Outcome.WRONG} == {"peer0", "peer1", "mirror"}


def test_what_a_peer_sends_is_not_shown_before_the_whole_is_right(content: Content, make_cache: MakeCache) -> None:
    gate = threading.Event()
    lacks_the_end = [Fault(times=99, at=len(content.data) - 1, refuse=RemoteNotFound("that I have not"))]
    peer = MemorySource(content.data, name="peer", kind=SourceKind.PEER, faults=lacks_the_end)
    cache = make_cache(peer, MemorySource(content.data, gate=gate))
    with cache.lease(ORIGIN, content.descriptor) as lease:
        lease.need(0, len(content.data))
        first = lease.when(0, 1)
        eventually(lambda: sum(cache.chunks(content.digest, "plain") or b"") == len(content.plain) - 1)
        assert not first.done()
        assert lease.available(0) == 0
        gate.set()
        first.result(TIMEOUT)
        assert read(lease) == content.data


def test_nor_is_it_after_a_restart(content: Content, make_cache: MakeCache) -> None:
    lacks_the_end = [Fault(times=99, at=len(content.data) - 1, refuse=RemoteNotFound("that I have not"))]
    peer = MemorySource(bytes(len(content.data)), name="peer", kind=SourceKind.PEER, faults=lacks_the_end)
    cache = make_cache(peer, MemorySource(content.data, gate=threading.Event()))
    with cache.lease(ORIGIN, content.descriptor) as lease:
        lease.need(0, len(content.data))
        eventually(lambda: sum(cache.chunks(content.digest, "plain") or b"") == len(content.plain) - 1)
    cache = make_cache(MemorySource(content.data, gate=(gate := threading.Event())))
    with cache.lease(ORIGIN, content.descriptor) as lease:
        assert sum(cache.chunks(content.digest, "plain") or b"") == len(content.plain) - 1
        assert lease.available(0) == 0
        first = lease.when(0, 1)
        gate.set()
        with pytest.raises(InvalidContent):
            first.result(TIMEOUT)


def test_who_asks_again_at_once_does_not_get_what_is_wrong(content: Content, make_cache: MakeCache) -> None:
    liar = MemorySource(bytes(len(content.data)), name="peer", kind=SourceKind.PEER)
    cache = make_cache(liar, MemorySource(content.data))
    with cache.lease(ORIGIN, content.descriptor) as lease:
        lease.need(0, len(content.data))
        with pytest.raises(DigestMismatch):
            lease.when(0, len(content.data)).result(TIMEOUT)
        with cache.lease(ORIGIN, content.descriptor) as again:
            assert read(again) == content.data


def test_a_second_fetch_may_go_well(content: Content, make_cache: MakeCache) -> None:
    flaky = MemorySource(content.data, faults=[Fault(wrong=True)])
    cache = make_cache(flaky)
    with cache.lease(ORIGIN, content.descriptor) as lease, pytest.raises(InvalidContent):
        read(lease)
    eventually(lambda: not cache.status())
    with cache.lease(ORIGIN, content.descriptor) as lease:
        assert read(lease) == content.data


def test_a_table_that_lies_says_so_and_the_plain_blob_is_had(content: Content, make_cache: MakeCache) -> None:
    other = Content(len(content.data), seed=2)
    table = other.table().table
    assert table is not None
    lie = Grid(content.digest, len(content.data), table)
    cache = make_cache()
    with cache.lease(ORIGIN, content.descriptor, grid=lie) as lease, pytest.raises(InvalidContent, match="index"):
        read(lease)
    eventually(lambda: not cache.status())
    with pytest.raises(InvalidContent, match="index"):
        cache.lease(ORIGIN, content.descriptor, grid=lie)
    with cache.lease(ORIGIN, content.descriptor) as lease:
        assert read(lease) == content.data


def test_a_table_that_is_right_about_other_bytes_reveals_itself_at_the_end(
    content: Content, make_cache: MakeCache
) -> None:
    """The upstream sends what the table says, and neither is the blob."""
    other = Content(len(content.data), seed=2)
    table = other.table().table
    assert table is not None
    cache = make_cache(MemorySource(other.data))
    with cache.lease(ORIGIN, content.descriptor, grid=Grid(content.digest, len(content.data), table)) as lease:
        lease.need(0, len(content.data))
        eventually(lambda: lease.when(0, 1).exception(TIMEOUT) is not None)
        with pytest.raises(InvalidContent, match="index"):
            lease.slice(0, 1)
    assert not cache.contains(content.digest)


def test_nothing_is_read_between_being_told_and_being_condemned(
    content: Content, make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    condemn, told = Arriving.condemn, threading.Event()

    def later(holding: Arriving, error: ModelcarError) -> None:
        told.wait(TIMEOUT)
        condemn(holding, error)

    monkeypatch.setattr(Arriving, "condemn", later)
    other = Content(len(content.data), seed=2)
    cache = make_cache(MemorySource(other.data))
    grid = Grid(content.digest, len(content.data), other.table().table)
    with cache.lease(ORIGIN, content.descriptor, grid=grid) as lease:
        lease.need(0, len(content.data))
        eventually(lambda: lease.when(0, 1).exception(TIMEOUT) is not None)
        assert lease.available(0) == 0
        with pytest.raises(InvalidContent, match="index"):
            lease.slice(0, 1)
        told.set()


def test_readers_under_one_table_see_nothing_of_another(content: Content, make_cache: MakeCache) -> None:
    gate = threading.Event()
    source = MemorySource(content.data, faults=[Fault(times=99, at=len(content.data) - 1, stall=CHUNK_SIZE)])
    cache = make_cache(source)
    source.gate = gate
    with (
        cache.lease(ORIGIN, content.descriptor, grid=content.table()) as first,
        cache.lease(ORIGIN, content.descriptor, grid=content.table(first=100)) as second,
    ):
        first.need(0, CHUNK_SIZE)
        gate.set()
        first.when(0, CHUNK_SIZE).result(TIMEOUT)
        assert second.grid.name != first.grid.name
        assert len({s.grid for s in cache.status()}) == 2
