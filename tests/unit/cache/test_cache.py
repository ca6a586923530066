"""Leases: joining, streaming, committing, resuming, removing, revoking."""

from __future__ import annotations

import errno
import os
import sys
import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.cache.cache import Cache
from modelcar.cache.lease import Purpose
from modelcar.cache.origins import Origins
from modelcar.cache.settings import CacheSettings
from modelcar.cache.status import BlobState
from modelcar.errors import (
    Denied,
    NotFound,
    RemoteNotFound,
    SizeMismatch,
    StorageError,
    Unreachable,
)
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.scheduler import Scheduler
from modelcar.lazy.settings import FetchSettings
from modelcar.oci import Digest
from modelcar.store.layout import OciLayout
from tests.support.chunks import Content, Fault, Guarded, MemorySource, Reports
from tests.support.waiting import eventually
from tests.unit.cache.leases import TIMEOUT, read

from .conftest import ORIGIN, MakeCache


@pytest.mark.parametrize("table", [False, True])
def test_a_pull_streams_commits_and_hits(cache: Cache, content: Content, source: MemorySource, table: bool) -> None:
    grid = content.table() if table else None
    assert not cache.contains(content.digest)
    with cache.lease(ORIGIN, content.descriptor, grid=grid) as lease:
        assert read(lease) == content.data
        eventually(lambda: cache.contains(content.digest))
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
        eventually(lambda: cache.status()[0].present == len(content.data) - CHUNK_SIZE)
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
    eventually(lambda: cache.contains(content.digest))
    eventually(lambda: not cache.status())


def test_or_only_for_as_long_as_is_wished(make_cache: MakeCache, content: Content, source: MemorySource) -> None:
    cache = make_cache(settings=CacheSettings(linger=0.05))
    source.gate = threading.Event()
    cache.lease(ORIGIN, content.descriptor).close()
    eventually(lambda: not cache.status())
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
        eventually(lambda: cache.contains(content.digest))
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
            eventually(lambda: cache.contains(content.digest))
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
            eventually(lambda cache=cache, content=content: cache.contains(content.digest))  # type: ignore[misc]  # mypy takes no lambda with a default


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
        eventually(lambda: cache.contains(content.digest))
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
        eventually(lambda: cache.contains(content.digest))
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
        eventually(lambda: cache.contains(content.digest))
    eventually(lambda: cache.status() == [])


def test_the_freshest_credentials_are_used(make_cache: MakeCache, content: Content) -> None:
    seen: list[Origins] = []
    cache = make_cache(seen=seen)
    old, new = replace(ORIGIN, authorization="Bearer old"), replace(ORIGIN, authorization="Bearer new")
    for origin in (old, new, ORIGIN):
        cache.lease(origin, content.descriptor).close()
    assert [o.authorization for o in seen[0].known()] == ["Bearer new"]


def test_who_comes_with_a_better_token_is_not_told_of_refusals_of_the_old_one(
    make_cache: MakeCache, content: Content
) -> None:
    source = Guarded(content.data)
    cache = make_cache(source)
    with cache.lease(replace(ORIGIN, authorization="Bearer old"), content.descriptor):
        eventually(lambda: source.held)
        source.open = True
        with cache.lease(replace(ORIGIN, authorization="Bearer new"), content.descriptor) as lease:
            source.may_refuse = sys.maxsize
            assert read(lease) == content.data


def test_peers_get_what_they_ask_for_and_nothing_else_is_fetched(
    cache: Cache, content: Content, source: MemorySource
) -> None:
    with cache.lease(ORIGIN, content.descriptor, grid=content.table(), purpose=Purpose.PEER) as lease:
        assert read(lease, CHUNK_SIZE, CHUNK_SIZE) == content.data[CHUNK_SIZE : 2 * CHUNK_SIZE]
        assert source.sent == CHUNK_SIZE
        with cache.lease(ORIGIN, content.descriptor, grid=content.table()) as other:
            assert read(other) == content.data
    eventually(lambda: cache.contains(content.digest))
    assert source.sent == len(content.data)


def test_what_was_fetched_for_peers_is_kept_and_not_in_use(
    cache: Cache, content: Content, source: MemorySource
) -> None:
    with cache.lease(ORIGIN, content.descriptor, grid=content.table(), purpose=Purpose.PEER) as lease:
        read(lease, 0, CHUNK_SIZE)
    eventually(lambda: cache.leased() == set())
    with cache.lease(ORIGIN, content.descriptor, grid=content.table()) as lease:
        assert read(lease) == content.data
    assert source.sent == len(content.data)
