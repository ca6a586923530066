"""Transfers over sources that misbehave."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.errors import (
    InvalidContent,
    ModelcarError,
    ProtocolViolation,
    RemoteNotFound,
    StorageError,
    Unauthorized,
    Unreachable,
)
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy import partial as partial_module
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.sources import Outcome, SourceKind
from modelcar.lazy.transfer import State
from modelcar.lazy.upstream import RegistrySource
from modelcar.oci import Reference
from modelcar.registry import ClientSettings, Registry
from tests.support.chunks import Content, Fault, Guarded, MemorySource, Reports
from tests.support.scripted_registry import Reply, ScriptedRegistry
from tests.support.waiting import eventually
from tests.unit.lazy.bench import FAST, SMALL, TIMEOUT, Bench, check


def test_all_of_it_once(bench: Bench, content: Content) -> None:
    source = MemorySource(content.data)
    transfer = bench.transfer(content.table(SMALL), Reports(source))
    assert bench.run(transfer) is None
    check(transfer, content)
    assert source.sent == len(content.data)
    assert transfer.status().sources == {"memory": len(content.data)}


def test_windows_are_bounded_and_never_overlap(bench: Bench) -> None:
    content = Content(9 * CHUNK_SIZE + 5)
    source = MemorySource(content.data)
    transfer = bench.transfer(content.plain, Reports(source), replace(FAST, window=2 * CHUNK_SIZE))
    assert bench.run(transfer) is None
    assert max(length for _, length in source.asked) <= 2 * CHUNK_SIZE
    assert sum(length for _, length in source.asked) == len(content.data)
    check(transfer, content)


@pytest.mark.slow
def test_windows_grow_with_what_led_up_to_them(bench: Bench) -> None:
    """Who waits for the first bytes has them from all streams at once."""
    content = Content(40 * CHUNK_SIZE)
    source = MemorySource(content.data)
    settings = replace(FAST, blob_streams=2, window=4 * CHUNK_SIZE)
    transfer = bench.transfer(content.plain, Reports(source), settings)
    assert bench.run(transfer) is None
    windows = {offset // CHUNK_SIZE: length // CHUNK_SIZE for offset, length in source.asked}
    assert all(windows[number] == 1 for number in range(4))
    assert all(length <= max(1, number // 2) for number, length in windows.items())
    assert max(windows.values()) == 4
    check(transfer, content)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut=0),
        Fault(cut=3 * SMALL + 17),
        Fault(short=SMALL),
        Fault(short=5),
        Fault(wrong=True),
        Fault(refuse=Unreachable("down")),
    ],
    ids=str,
)
def test_one_upstream_with_one_fault(bench: Bench, content: Content, fault: Fault) -> None:
    source = MemorySource(content.data, faults=[replace(fault)])
    transfer = bench.transfer(content.table(SMALL), Reports(source))
    assert bench.run(transfer) is None
    check(transfer, content)
    assert source.sent <= len(content.data) + SMALL  # what is lost of a window is one chunk


def test_a_chunk_that_is_complete_is_not_asked_for_again_after_a_cut(bench: Bench, content: Content) -> None:
    source = MemorySource(content.data, faults=[Fault(cut=10 * SMALL)])
    transfer = bench.transfer(content.table(SMALL), Reports(source))
    assert bench.run(transfer) is None
    assert source.sent == len(content.data)
    assert source.asked[1][0] == 10 * SMALL


def test_a_mirror_that_lies_is_not_asked_again(bench: Bench, content: Content) -> None:
    liar = MemorySource(bytes(len(content.data)), name="liar", kind=SourceKind.MIRROR)
    good = MemorySource(content.data)
    router = Reports(liar, good)
    transfer = bench.transfer(content.table(SMALL), router, replace(FAST, upstream_streams=1, urgent_streams=0))
    assert bench.run(transfer) is None
    check(transfer, content)
    assert len(liar.asked) == 1
    assert ("liar", Outcome.WRONG) in router.told


def test_nobody_but_a_liar(bench: Bench, content: Content) -> None:
    liar = MemorySource(bytes(len(content.data)), kind=SourceKind.PEER)
    transfer = bench.transfer(content.table(SMALL), Reports(liar))
    assert isinstance(bench.run(transfer), ProtocolViolation)  # that says nothing of the blob
    assert transfer.partial.present == 0


def test_an_index_that_lies_about_one_chunk(bench: Bench, content: Content) -> None:
    table = content.table(SMALL).table
    assert table is not None
    lie = (*table[:3], replace(table[3], digest=table[4].digest), *table[4:])
    source = MemorySource(content.data)
    transfer = bench.transfer(Grid(content.digest, len(content.data), lie), Reports(source))
    waiting = transfer.partial.when(3 * SMALL, 1)
    error = bench.run(transfer)
    assert isinstance(error, InvalidContent)
    assert "index" in str(error.hint)
    assert waiting.exception(TIMEOUT) is error


def test_an_upstream_that_sends_other_wrong_bytes_every_time_is_broken_and_the_index_is_not(
    bench: Bench, content: Content
) -> None:
    class Noise(MemorySource):
        def fetch(self, grid: Grid, offset: int, length: int):  # type: ignore[no-untyped-def]  # as the source's own
            self.data = bytes([len(self.asked)]) * len(content.data)
            return super().fetch(grid, offset, length)

    settings = replace(FAST, upstream_streams=1, urgent_streams=0)
    transfer = bench.transfer(content.table(SMALL), Reports(Noise(content.data)), settings)
    error = bench.run(transfer)
    assert isinstance(error, ProtocolViolation)
    assert transfer.state is State.FAILED


def test_who_waits_since_it_was_revived_is_not_told_of_the_failure_before(bench: Bench, content: Content) -> None:
    """It is revived after it has failed, and before those who waited are told."""
    same_lie_twice = Fault(times=2, at=0, wrong=True)
    source = MemorySource(content.data, faults=[same_lie_twice])
    settings = replace(FAST, upstream_streams=1, urgent_streams=0)
    transfer = bench.transfer(content.table(SMALL), Reports(source), settings)
    waiting: list[Future[None]] = []

    class Revive:
        def received(self, kind: SourceKind, size: int, seconds: float) -> None: ...

        def hedged(self, kind: SourceKind) -> None: ...

        def ended(self, kind: SourceKind, outcome: Outcome, seconds: float) -> None:
            if transfer.state is State.FAILED:
                transfer.revive()
                waiting.append(transfer.partial.when(0, 1))

    bench.schedulers[-1].events = Revive()
    assert isinstance(bench.run(transfer), InvalidContent)
    (since,) = waiting
    since.result(TIMEOUT)
    eventually(lambda: transfer.state is State.DONE)
    check(transfer, content)


def test_what_was_refused_on_its_way_does_not_fail_who_has_better_credentials(bench: Bench, content: Content) -> None:
    source = Guarded(content.data)
    transfer = bench.transfer(content.table(SMALL), Reports(source))
    transfer.start()
    eventually(lambda: source.held)
    source.open = True
    transfer.renew()
    source.may_refuse = sys.maxsize
    assert bench.ended.wait(TIMEOUT)
    assert bench.ends == [None]
    check(transfer, content)


def test_nor_does_what_was_asked_for_before_it_was_revived(bench: Bench) -> None:
    """Several are asked at once, and the others are refused only after those who waited were told of the first."""
    content = Content(3 * CHUNK_SIZE)
    source = Guarded(content.data)
    router = Reports(source)
    transfer = bench.transfer(content.table(), router)
    transfer.start()
    eventually(lambda: source.held > 1)
    source.may_refuse = 1
    assert bench.ended.wait(TIMEOUT)
    bench.ended.clear()
    source.open, source.gate = True, threading.Event()  # nothing comes before the refusals
    transfer.revive()
    source.may_refuse = sys.maxsize
    eventually(lambda: len(router.told) == source.held)
    source.gate.set()
    assert bench.ended.wait(TIMEOUT)
    assert [type(e) for e in bench.ends] == [Unauthorized, type(None)]
    check(transfer, content)


def test_failures_go_to_the_next_source_and_are_told(bench: Bench, content: Content) -> None:
    first = MemorySource(b"", name="first", faults=[Fault(times=999, refuse=Unreachable("down"))])
    second = MemorySource(content.data, name="second")
    router = Reports(first, second)
    transfer = bench.transfer(content.plain, router)
    assert bench.run(transfer) is None
    check(transfer, content)
    assert ("first", Outcome.BROKEN) in router.told


def test_a_peer_without_a_chunk_and_one_with_it(bench: Bench, content: Content) -> None:
    empty = MemorySource(
        b"", name="empty", kind=SourceKind.PEER, faults=[Fault(times=999, refuse=RemoteNotFound("not here"))]
    )
    upstream = MemorySource(content.data)
    transfer = bench.transfer(content.table(SMALL), Reports(empty, upstream))
    assert bench.run(transfer) is None
    check(transfer, content)
    assert upstream.sent == len(content.data)


@pytest.mark.parametrize("error", [RemoteNotFound("gone"), Unauthorized("no"), Unreachable("down")])
def test_when_everyone_fails_those_who_wait_are_told_and_may_try_again(
    bench: Bench, content: Content, error: ModelcarError
) -> None:
    source = MemorySource(content.data, faults=[Fault(times=3, refuse=error)])
    settings = replace(FAST, upstream_streams=1, urgent_streams=0, backoff=0.2, backoff_limit=60.0)
    transfer = bench.transfer(content.table(SMALL), Reports(source), settings)
    waiting = transfer.partial.when(0, 1)
    assert bench.run(transfer) is error
    assert waiting.exception(TIMEOUT) is error
    assert len(source.asked) == (3 if isinstance(error, Unreachable) else 1)
    assert transfer.status().error is error
    source.faults.clear()
    assert bench.run(transfer) is None
    transfer.partial.wait(0, len(content.data), TIMEOUT)
    check(transfer, content)


def test_stopping_and_going_on(bench: Bench, content: Content) -> None:
    source = MemorySource(content.data, faults=[Fault(stall=3 * SMALL)])
    router = Reports(source)
    transfer = bench.transfer(content.table(SMALL), router, replace(FAST, stall=60.0))
    transfer.start()
    transfer.partial.wait(0, 3 * SMALL, TIMEOUT)
    waiting = transfer.partial.when(4 * SMALL, 1)
    transfer.stop(StorageError("later"))
    assert isinstance(waiting.exception(0), StorageError)
    assert transfer.streams == 0
    assert router.told == []  # nobody is to blame
    assert bench.run(transfer) is None
    assert source.sent == len(content.data)
    check(transfer, content)


def test_what_is_complete_when_it_starts_is_checked(bench: Bench, content: Content) -> None:
    partial = PartialBlob.create(bench.folder / "whole", content.plain)
    partial.put(0, content.data)
    transfer = bench.transfer(content.plain, Reports(MemorySource(b"")), partial=partial)
    assert bench.run(transfer) is None
    check(transfer, content)


def test_after_a_crash_of_the_machine_chunks_are_confirmed_and_not_fetched(
    bench: Bench, content: Content, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    grid = content.table(SMALL)
    partial = PartialBlob.create(bench.folder / "crashed", grid)
    for number in range(20):
        offset, size = grid.bounds(number)
        partial.put(number, content.data[offset : offset + size])
    partial.close()
    data = bench.folder / "crashed" / "data"
    damaged = bytearray(data.read_bytes())
    damaged[7 * SMALL] ^= 1
    data.write_bytes(damaged)
    boot = tmp_path / "boot"
    boot.write_text("another")
    monkeypatch.setattr(partial_module, "_BOOT", boot)
    source = MemorySource(content.data)
    transfer = bench.transfer(grid, Reports(source), partial=PartialBlob.open(bench.folder / "crashed"))
    assert bench.run(transfer) is None
    check(transfer, content)
    assert source.sent == len(content.data) - 19 * SMALL


def test_what_the_disk_has_damaged_meanwhile_is_fetched_anew(bench: Bench, content: Content) -> None:
    """The last chunk but one comes first, and is hashed with the whole once all before it are there."""
    source = MemorySource(content.data, faults=[Fault(times=999, at=0, stall=0)])
    router = Reports(source, order=[39, *range(39), 40])
    transfer = bench.transfer(content.table(SMALL), router, replace(FAST, stall=0.2, attempts=999))
    transfer.start()
    transfer.partial.wait(39 * SMALL, SMALL, TIMEOUT)
    with (transfer.partial.folder / "data").open("r+b") as f:
        f.seek(39 * SMALL)
        f.write(b"rot!")
    source.faults.clear()
    eventually(lambda: transfer.state is State.DONE)
    check(transfer, content)
    assert source.sent == len(content.data) + SMALL


def test_a_failing_disk_is_our_error_and_not_the_sources(
    bench: Bench, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = Reports(MemorySource(content.data))
    transfer = bench.transfer(content.table(SMALL), router)

    def fail(*_: object, **__: object) -> None:
        raise StorageError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(transfer.partial, "put", fail)
        assert isinstance(bench.run(transfer), StorageError)
    assert all(outcome is Outcome.DONE for _, outcome in router.told)
    assert bench.run(transfer) is None
    check(transfer, content)


def test_a_source_with_a_bug_is_one_that_is_broken(
    bench: Bench, content: Content, caplog: pytest.LogCaptureFixture
) -> None:
    class Buggy(MemorySource):
        def fetch(self, grid: Grid, offset: int, length: int):  # type: ignore[no-untyped-def]  # as the source's own
            raise ValueError("oops")

    good = MemorySource(content.data, name="good")
    transfer = bench.transfer(content.plain, Reports(Buggy(b"", name="buggy"), good))
    assert bench.run(transfer) is None
    assert "buggy" in caplog.text


def test_many_readers_of_many_ranges(bench: Bench, content: Content) -> None:
    source = MemorySource(content.data)
    transfer = bench.transfer(content.table(SMALL), Reports(source))
    failures: list[object] = []

    def reader(number: int) -> None:
        offset = number * 13 * 1000 % len(content.data)
        length = min(200_000, len(content.data) - offset)
        transfer.need(offset, length, number)
        try:
            transfer.partial.wait(offset, length, TIMEOUT)
            if transfer.partial.read(offset, length) != content.data[offset : offset + length]:
                failures.append(number)
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=reader, args=(n,)) for n in range(60)]
    for thread in threads:
        thread.start()
    transfer.start()
    for thread in threads:
        thread.join()
    assert failures == []
    transfer.partial.wait(0, len(content.data), TIMEOUT)
    assert source.sent == len(content.data)


@pytest.mark.slow
def test_a_registry_that_ignores_ranges_is_asked_for_all_of_it_once(bench: Bench) -> None:
    content = Content(5 * CHUNK_SIZE)
    server = ScriptedRegistry()
    server.blobs[str(content.digest)] = content.data
    whole = Reply(200, {"Docker-Content-Digest": str(content.digest)}, content.data)
    server.on("GET", "/blobs/", whole, times=99)
    with Registry(ClientSettings(attempts=1)) as client:
        offers = [(client, Reference.parse(f"{server.name}/org/model"))]
        transfer = bench.transfer(content.plain, Reports(RegistrySource("upstream", lambda _: offers)))
        assert bench.run(transfer) is None
        check(transfer, content)
        asked = [request.headers.get("Range") for request in server.requests("GET", "/blobs/")]
        assert asked.count(None) == 1
        transfer.stop()
    server.close()
