"""Leases: joining, streaming, committing, resuming, removing, revoking."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.cache.cache import Cache
from modelcar.cache.holding import Arriving
from modelcar.cache.lease import Lease, Purpose
from modelcar.cache.origins import Origins
from modelcar.cache.settings import CacheSettings
from modelcar.cache.status import BlobState
from modelcar.errors import (
    Denied,
    DigestMismatch,
    InvalidContent,
    ModelcarError,
    NotFound,
    RemoteNotFound,
    SizeMismatch,
    StorageError,
    Unreachable,
)
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.scheduler import Scheduler
from modelcar.lazy.settings import FetchSettings
from modelcar.lazy.sources import Outcome, SourceKind
from modelcar.oci import Digest
from modelcar.store.layout import OciLayout
from tests.support.chunks import Content, Fault, MemorySource, Reports

from .conftest import ORIGIN, MakeCache

TIMEOUT = 20


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def read(lease: Lease, offset: int = 0, length: int | None = None) -> bytes:
    """As a handler does, but blocking."""
    length = lease.grid.size - offset if length is None else length
    data = bytearray()
    while len(data) < length:
        position = offset + len(data)
        lease.need(position, min(length - len(data), 8 * CHUNK_SIZE))
        n = min(lease.available(position), length - len(data))
        if not n:
            lease.when(position, 1).result(TIMEOUT)
            continue
        piece = lease.slice(position, n)
        data += os.pread(piece.fd, piece.size, piece.offset)
    return bytes(data)


@pytest.mark.parametrize("table", [False, True])
def test_a_pull_streams_commits_and_hits(cache: Cache, content: Content, source: MemorySource, table: bool) -> None:
    grid = content.table() if table else None
    assert not cache.contains(content.digest)
    with cache.lease(ORIGIN, content.descriptor, grid=grid) as lease:
        assert read(lease) == content.data
        until(lambda: cache.contains(content.digest))
        assert read(lease, 5, 100) == content.data[5:105]
    assert source.sent == len(content.data)
    with cache.lease(ORIGIN, content.descriptor) as lease:
        assert read(lease) == content.data
    assert source.sent == len(content.data)
    assert cache.layout.path(content.digest).read_bytes() == content.data
    assert not list((cache.layout.root / "partial").glob("*/*/*"))
    assert cache.leased() == set()


def test_every_chunk_is_fetched_once_however_many_read(cache: Cache, content: Content, source: MemorySource) -> None:
    results: list[bytes] = []

    def reader(start: int) -> None:
        with cache.lease(ORIGIN, content.descriptor) as lease:
            results.append(read(lease, start) + content.data[:0])

    threads = [threading.Thread(target=reader, args=(n * 1_000_000,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, results)) == sorted(len(content.data) - n * 1_000_000 for n in range(16))
    assert all(content.data.endswith(r) for r in results)
    assert source.sent == len(content.data)


def test_the_first_bytes_come_before_the_last_are_here(content: Content, make_cache: MakeCache) -> None:
    end = MemorySource(content.data, faults=[Fault(times=99, at=len(content.data) - 1, stall=0)])
    cache = make_cache(end)
    with cache.lease(ORIGIN, content.descriptor) as lease:
        assert read(lease, 0, 4 * CHUNK_SIZE) == content.data[: 4 * CHUNK_SIZE]
        assert lease.available(content.plain.bounds(len(content.plain) - 1)[0]) == 0
        assert not cache.contains(content.digest)


def test_what_arrives_is_not_given_to_who_was_promised_another_size(
    cache: Cache, content: Content, source: MemorySource
) -> None:
    source.gate = threading.Event()
    with cache.lease(ORIGIN, content.descriptor) as lease:
        with pytest.raises(SizeMismatch):
            cache.lease(ORIGIN, replace(content.descriptor, size=1))
        source.gate.set()
        assert read(lease) == content.data


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
        until(lambda: not cache.status())
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
            until(lambda: cache.contains(content.digest))
        until(lambda: not cache.status())
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
        until(lambda: sum(cache.chunks(content.digest, "plain") or b"") == len(content.plain) - 1)
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
        until(lambda: sum(cache.chunks(content.digest, "plain") or b"") == len(content.plain) - 1)
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
    until(lambda: not cache.status())
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
    until(lambda: not cache.status())
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
        until(lambda: lease.when(0, 1).exception(TIMEOUT) is not None)
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
        until(lambda: lease.when(0, 1).exception(TIMEOUT) is not None)
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


def test_an_upstream_that_is_down_is_an_error_now_and_no_more_later(
    cache: Cache, content: Content, source: MemorySource
) -> None:
    source.faults.append(Fault(times=99, refuse=Unreachable("registry.example: nothing listens there")))
    with cache.lease(ORIGIN, content.descriptor) as lease:
        with pytest.raises(Unreachable, match="nothing listens"):
            read(lease)
        source.faults.clear()
        assert read(lease) == content.data  # whoever asks again has it tried again


def test_what_the_upstream_does_not_have_is_said_at_once(
    tmp_path: Path, content: Content, source: MemorySource
) -> None:
    """Whoever asks after it has failed, or a source has rested, has it tried again."""
    source.faults.append(Fault(times=99, refuse=RemoteNotFound("registry.example: no such blob", status=404)))
    scheduler = Scheduler(FetchSettings(backoff=60.0, backoff_limit=60.0))
    cache = Cache(tmp_path, OciLayout(tmp_path), scheduler, lambda *_: Reports(source))
    with scheduler.lock:
        lease = cache.lease(ORIGIN, content.descriptor)
        lease.need(0, len(content.data))
        waiting = lease.when(0, 1)
    with lease, pytest.raises(RemoteNotFound, match="no such blob"):
        waiting.result(TIMEOUT)
    cache.close()
    scheduler.close()
    assert len(source.asked) == len(set(source.asked))


@pytest.mark.parametrize("table", [False, True])
def test_a_restart_goes_on_where_the_last_one_was(content: Content, make_cache: MakeCache, table: bool) -> None:
    grid = content.table() if table else None
    source = MemorySource(content.data, faults=[Fault(times=99, at=2 * CHUNK_SIZE, stall=0)])
    cache = make_cache(source)
    with cache.lease(ORIGIN, content.descriptor, grid=grid) as lease:
        until(lambda: cache.status()[0].present == len(content.data) - CHUNK_SIZE)
        failed = lease.when(2 * CHUNK_SIZE, 1)
        cache.park()
        with pytest.raises(StorageError, match="restarted"):
            failed.result(TIMEOUT)
        with pytest.raises(StorageError, match="restarted"):
            cache.lease(ORIGIN, content.descriptor, grid=grid)
    source = MemorySource(content.data)
    cache = make_cache(source)
    with cache.lease(ORIGIN, content.descriptor, grid=grid) as lease:
        assert read(lease) == content.data
    assert source.sent == CHUNK_SIZE


def test_a_pull_goes_on_when_everyone_has_left(cache: Cache, content: Content, source: MemorySource) -> None:
    source.gate = threading.Event()
    cache.lease(ORIGIN, content.descriptor).close()
    assert cache.leased() == {content.digest}
    source.gate.set()
    until(lambda: cache.contains(content.digest))
    until(lambda: not cache.status())


def test_or_only_for_as_long_as_is_wished(make_cache: MakeCache, content: Content, source: MemorySource) -> None:
    cache = make_cache(settings=CacheSettings(linger=0.05))
    source.gate = threading.Event()
    cache.lease(ORIGIN, content.descriptor).close()
    until(lambda: not cache.status())
    assert cache.grids(content.digest) == [content.plain]
    source.gate.set()
    with cache.lease(ORIGIN, content.descriptor) as lease:
        assert read(lease) == content.data


def test_who_comes_back_in_time_keeps_it_going(
    make_cache: MakeCache, content: Content, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers: list[threading.Timer] = []

    class Noted(threading.Timer):
        def start(self) -> None:
            timers.append(self)
            super().start()

    monkeypatch.setattr(threading, "Timer", Noted)
    cache = make_cache(settings=CacheSettings(linger=60))
    source.gate = threading.Event()
    cache.lease(ORIGIN, content.descriptor).close()
    with cache.lease(ORIGIN, content.descriptor) as lease:
        (timer,) = timers
        assert timer.finished.is_set(), "it was cancelled"
        source.gate.set()
        assert read(lease) == content.data
    assert source.sent == len(content.data)


def test_removing(cache: Cache, content: Content) -> None:
    with pytest.raises(NotFound):
        cache.remove(content.digest)
    with cache.lease(ORIGIN, content.descriptor) as lease:
        with pytest.raises(StorageError, match="in use"):
            cache.remove(content.digest)
        assert read(lease) == content.data
        until(lambda: cache.contains(content.digest))
        with pytest.raises(StorageError, match="in use"):
            cache.remove(content.digest)
    cache.remove(content.digest)
    assert not cache.contains(content.digest)
    with cache.lease(ORIGIN, content.descriptor) as lease:
        assert read(lease) == content.data


def test_removing_what_arrives_for_nobody(cache: Cache, content: Content, source: MemorySource) -> None:
    source.gate = threading.Event()
    cache.lease(ORIGIN, content.descriptor).close()
    cache.remove(content.digest)
    assert cache.leased() == set()
    assert cache.grids(content.digest) == []
    source.gate.set()
    with cache.lease(ORIGIN, content.descriptor) as lease:
        assert read(lease) == content.data


@pytest.mark.parametrize("when", ["arriving", "whole", "before"])
def test_revoking_cuts_readers_and_stays(cache: Cache, content: Content, source: MemorySource, when: str) -> None:
    denied = Denied(f"{content.digest} is malicious")
    waiting: Future[None] | None = None
    if when == "before":
        cache.revoke(content.digest, denied)
    else:
        if when == "arriving":
            source.gate = threading.Event()
        lease = cache.lease(ORIGIN, content.descriptor)
        if when == "whole":
            assert read(lease) == content.data
            until(lambda: cache.contains(content.digest))
        else:
            waiting = lease.when(0, 1)
        cache.revoke(content.digest, denied)
        assert lease.available(0) == 0
        with pytest.raises(Denied):
            lease.when(0, 1).result(TIMEOUT)
        with pytest.raises(Denied):
            lease.slice(0, 1)
        if waiting is not None:
            with pytest.raises(Denied):
                waiting.result(TIMEOUT)
        lease.need(0, 10)  # does no harm
        lease.close()
    with pytest.raises(Denied):
        cache.lease(ORIGIN, content.descriptor)
    assert not cache.contains(content.digest)
    assert not cache.layout.path(content.digest).exists()
    assert cache.grids(content.digest) == []
    assert cache.leased() == set()
    cache.allow(content.digest)
    if source.gate:
        source.gate.set()
    with cache.lease(ORIGIN, content.descriptor) as lease:
        assert read(lease) == content.data


def test_a_lease_that_is_closed(cache: Cache, content: Content) -> None:
    lease = cache.lease(ORIGIN, content.descriptor)
    read(lease)
    lease.close()
    lease.close()
    with pytest.raises(StorageError, match="closed"):
        lease.slice(0, 1)


def test_blobs_of_no_bytes_and_of_one(make_cache: MakeCache) -> None:
    for size in (0, 1, CHUNK_SIZE, CHUNK_SIZE + 1):
        content = Content(size)
        cache = make_cache(MemorySource(content.data))
        with cache.lease(ORIGIN, content.descriptor) as lease:
            assert read(lease) == content.data
            lease.when(0, size).result(TIMEOUT)
            until(lambda cache=cache, content=content: cache.contains(content.digest))  # type: ignore[misc]


def test_no_room(make_cache: MakeCache, content: Content, source: MemorySource) -> None:
    asked: list[int] = []

    def make_room(digest: Digest, size: int) -> None:
        assert digest == content.digest
        asked.append(size)
        if len(asked) == 1:
            raise StorageError("there is no room")

    cache = make_cache(make_room=make_room)
    with pytest.raises(StorageError, match="no room"):
        cache.lease(ORIGIN, content.descriptor)
    assert cache.leased() == set()
    assert source.asked == []
    with cache.lease(ORIGIN, content.descriptor) as lease:
        assert read(lease) == content.data
    assert asked == [len(content.data)] * 2


def test_a_full_disk_ends_a_pull_and_nothing_else(
    make_cache: MakeCache, content: Content, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Content(3000, seed=5)
    write = os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        if offset == 2 * CHUNK_SIZE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data, offset)

    cache = make_cache(source)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        lease = cache.lease(ORIGIN, content.descriptor)
        with pytest.raises(StorageError, match="No space left"):
            read(lease)
        source.data = other.data  # the next transfer is of another blob
        with cache.lease(ORIGIN, other.descriptor) as another:
            assert read(another) == other.data
        source.data = content.data
    assert read(lease) == content.data  # somebody made room
    lease.close()


def test_a_lie_about_the_size(cache: Cache, content: Content) -> None:
    with cache.lease(ORIGIN, content.descriptor) as lease:
        read(lease)
        until(lambda: cache.contains(content.digest))
    lie = replace(content.descriptor, size=10)
    with pytest.raises(SizeMismatch):
        cache.lease(ORIGIN, lie)
    with pytest.raises(SizeMismatch):
        cache.lease(ORIGIN, lie, grid=content.table())
    assert cache.contains(content.digest)


def test_what_is_no_file_is_fetched_anew(cache: Cache, content: Content) -> None:
    cache.layout.path(content.digest).mkdir()
    with cache.lease(ORIGIN, content.descriptor) as lease:
        assert read(lease) == content.data


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE])
def test_half_a_file_is_fetched_anew(cache: Cache, content: Content, source: MemorySource, size: int) -> None:
    cache.layout.path(content.digest).write_bytes(content.data[:size])
    with cache.lease(ORIGIN, content.descriptor) as lease:
        assert read(lease) == content.data
    assert source.sent == len(content.data)


def test_what_was_almost_in_the_store_gets_there(cache: Cache, content: Content, make_cache: MakeCache) -> None:
    """Killed after the last chunk and before the rename, or between the rename and the removal of the folder."""
    with cache.lease(ORIGIN, content.descriptor, grid=content.table()) as lease:
        read(lease)
        until(lambda: cache.contains(content.digest))
    PartialBlob.create(cache.layout.root / "partial" / "sha256" / content.digest.hex / content.table().name,
                       content.table()).close()  # fmt: skip
    cache = make_cache(MemorySource(b"", faults=[Fault(times=99, refuse=Unreachable("down"))]))
    with cache.lease(ORIGIN, content.descriptor, grid=content.table()) as lease:
        assert read(lease) == content.data


def test_status_while_and_after(cache: Cache, content: Content, source: MemorySource) -> None:
    source.gate = threading.Event()
    with cache.lease(ORIGIN, content.descriptor, purpose=Purpose.PRECACHE) as lease:
        lease.when(0, 1)
        [status] = cache.status()
        assert (status.state, status.leases, status.waiting) == (BlobState.ARRIVING, 1, 1)
        assert (status.present, status.chunks) == (0, bytes(6))
        assert status.purpose == Purpose.PRECACHE
        assert status.origins == (ORIGIN.name,)
        cache.lease(ORIGIN, content.descriptor, purpose=Purpose.PULL).close()
        [status] = cache.status()
        assert status.purpose == Purpose.PRECACHE
        source.gate.set()
        read(lease)
        until(lambda: cache.contains(content.digest))
    until(lambda: cache.status() == [])


def test_the_freshest_credentials_are_used(make_cache: MakeCache, content: Content) -> None:
    seen: list[Origins] = []
    cache = make_cache(seen=seen)
    old, new = replace(ORIGIN, authorization="Bearer old"), replace(ORIGIN, authorization="Bearer new")
    for origin in (old, new, ORIGIN):
        cache.lease(origin, content.descriptor).close()
    assert [o.authorization for o in seen[0].known()] == ["Bearer new"]


def test_peers_get_what_they_ask_for_and_nothing_else_is_fetched(
    cache: Cache, content: Content, source: MemorySource
) -> None:
    with cache.lease(ORIGIN, content.descriptor, grid=content.table(), purpose=Purpose.PEER) as lease:
        assert read(lease, CHUNK_SIZE, CHUNK_SIZE) == content.data[CHUNK_SIZE : 2 * CHUNK_SIZE]
        assert source.sent == CHUNK_SIZE
        with cache.lease(ORIGIN, content.descriptor, grid=content.table()) as other:
            assert read(other) == content.data
    until(lambda: cache.contains(content.digest))
    assert source.sent == len(content.data)


def test_what_was_fetched_for_peers_is_kept_and_not_in_use(
    cache: Cache, content: Content, source: MemorySource
) -> None:
    with cache.lease(ORIGIN, content.descriptor, grid=content.table(), purpose=Purpose.PEER) as lease:
        read(lease, 0, CHUNK_SIZE)
    until(lambda: cache.leased() == set())
    with cache.lease(ORIGIN, content.descriptor, grid=content.table()) as lease:
        assert read(lease) == content.data
    assert source.sent == len(content.data)
