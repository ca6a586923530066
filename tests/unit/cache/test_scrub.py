"""Damage on disk is found, and healed by the next pull."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.cache.cache import Cache
from modelcar.cache.lease import Purpose
from modelcar.cache.scrub import Scrubber
from modelcar.cache.settings import CacheSettings
from modelcar.errors import StorageError
from modelcar.oci import Digest
from tests.support.chunks import Content, MemorySource
from tests.support.leaks import no_thread_left
from tests.support.waiting import eventually
from tests.unit.cache.leases import read

from .conftest import ORIGIN, MakeCache

OTHERS = [Content(5000 + seed, seed) for seed in range(5)]


class Counted:
    """`CacheEvents` that are counted."""

    def __init__(self) -> None:
        self.good = self.bad = 0

    def leased(self, purpose: Purpose, *, whole: bool) -> None: ...

    def committed(self, size: int) -> None: ...

    def refused(self) -> None: ...

    def scrubbed(self, size: int) -> None:
        self.good += size

    def quarantined(self, size: int) -> None:
        self.bad += size


@pytest.fixture
def filled(make_cache: MakeCache, content: Content) -> Cache:
    cache = make_cache(settings=CacheSettings(scrub_rate=1e12), events=Counted())
    for each in (content, *OTHERS):
        cache.layout.path(each.digest).write_bytes(each.data)
    return cache


@pytest.fixture
def scrubber(filled: Cache) -> Iterator[Scrubber]:
    scrubber = Scrubber(filled)
    yield scrubber
    scrubber.close()


def damage(path: Path) -> None:
    with path.open("r+b") as f:
        f.seek(1234)
        byte = f.read(1)
        f.seek(1234)
        f.write(bytes([byte[0] ^ 4]))


def test_nothing_is_damaged(filled: Cache, scrubber: Scrubber, content: Content) -> None:
    report = scrubber.walk()
    assert report.damaged == ()
    assert report.blobs == 6
    assert report.size == sum(len(c.data) for c in (content, *OTHERS))


def test_one_flipped_bit_is_found_and_the_next_pull_heals(
    filled: Cache, scrubber: Scrubber, content: Content, source: MemorySource
) -> None:
    with filled.lease(ORIGIN, content.descriptor) as reader:
        assert reader.available(0) == len(content.data)
        damage(filled.layout.path(content.digest))
        assert scrubber.walk().damaged == (content.digest,)
        assert not filled.contains(content.digest)
        assert reader.available(0) == 0
        with pytest.raises(StorageError, match="damaged"):
            reader.when(0, 1).result(1)
    with filled.lease(ORIGIN, content.descriptor) as lease:
        assert read(lease) == content.data
    assert source.sent == len(content.data)
    eventually(lambda: filled.contains(content.digest))
    assert scrubber.walk().damaged == ()


def test_files_that_a_crash_left_empty_are_found_at_once(filled: Cache, scrubber: Scrubber) -> None:
    filled.layout.path(OTHERS[0].digest).write_bytes(b"")
    nothing = Digest.of(b"")
    filled.layout.path(nothing).write_bytes(b"")
    assert scrubber.remove_empty() == 1
    assert not filled.contains(OTHERS[0].digest)
    assert filled.contains(nothing)


def test_a_walk_goes_on_where_the_last_one_was(filled: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelcar.cache.scrub._SAVED_EVERY", 1)
    first = Scrubber(filled)
    seen: list[Digest] = []
    check = first.check

    def third(digest: Digest) -> int:
        first._stopped = len(seen) == 3
        seen.append(digest)
        return check(digest)

    monkeypatch.setattr(first, "check", third)
    first.start()
    assert first._thread is not None
    first._thread.join()
    assert Scrubber(filled).walk().blobs == 3
    assert Scrubber(filled).walk().blobs == 6


def test_every_start_of_the_machine_is_a_reason_to_walk(filled: Cache, tmp_path: Path) -> None:
    boot = tmp_path / "boot"
    boot.write_text("one")
    Scrubber(filled, boot=boot).walk()
    digest = OTHERS[2].digest
    damage(filled.layout.path(digest))
    boot.write_text("two")
    scrubber = Scrubber(filled, boot=boot)
    scrubber.start()
    eventually(lambda: not filled.contains(digest))
    scrubber.close()


def test_what_is_pulled_again_is_looked_at_first(
    filled: Cache, content: Content, monkeypatch: pytest.MonkeyPatch, source: MemorySource
) -> None:
    scrubber = Scrubber(filled)
    scrubber.walk()
    scrubber.start()
    damage(filled.layout.path(content.digest))
    filled.lease(ORIGIN, content.descriptor).close()
    filled.lease(ORIGIN, content.descriptor).close()
    assert filled.contains(content.digest)
    monkeypatch.setattr("modelcar.cache.scrub._SAME_PULL", 0.0)  # as after a while
    filled.lease(ORIGIN, content.descriptor).close()
    eventually(lambda: not filled.contains(content.digest))
    scrubber.close()
    with filled.lease(ORIGIN, content.descriptor) as lease:
        assert read(lease) == content.data


def test_a_thread_walks_when_it_is_due_and_ends_in_the_middle_if_told(make_cache: MakeCache, content: Content) -> None:
    cache = make_cache(settings=CacheSettings(scrub_rate=1000.0))
    cache.layout.path(content.digest).write_bytes(content.data)
    scrubber = Scrubber(cache)
    with no_thread_left():
        scrubber.start()
        time.sleep(0.05)  # it is in the middle then, or has not begun
        scrubber.close()
    assert cache.contains(content.digest)


def test_what_was_walked_lately_is_left_alone(make_cache: MakeCache, content: Content) -> None:
    now = 1_000_000.0
    cache = make_cache(settings=CacheSettings(scrub_rate=1e12, scrub_interval=100.0))
    cache.layout.path(content.digest).write_bytes(content.data)
    Scrubber(cache, clock=lambda: now).walk()
    damage(cache.layout.path(content.digest))
    for moment, found in ((now + 50, False), (now - 1e6, False), (now + 101, True)):
        scrubber = Scrubber(cache, clock=lambda moment=moment: moment)  # type: ignore[misc]  # mypy takes no lambda with a default
        scrubber.start()
        if found:
            eventually(lambda: not cache.contains(content.digest))
        else:
            time.sleep(0.05)
            assert cache.contains(content.digest)
        scrubber.close()


def test_it_can_be_turned_off(make_cache: MakeCache) -> None:
    scrubber = Scrubber(make_cache(settings=CacheSettings(scrub_rate=0)))
    scrubber.start()
    assert scrubber._thread is None
    scrubber.close()


def test_over_nothing_it_walks_now_and_then_and_ends_at_once(make_cache: MakeCache) -> None:
    walks: list[None] = []

    def clock() -> float:
        walks.append(None)
        return 1e9

    scrubber = Scrubber(make_cache(settings=CacheSettings(scrub_interval=0.0)), clock=clock)
    with no_thread_left():
        scrubber.start()
        eventually(lambda: bool(walks))
        scrubber.close()
    assert len(walks) < 20


def test_a_note_that_is_not_to_be_read_begins_anew(make_cache: MakeCache, content: Content) -> None:
    cache = make_cache()
    cache.layout.path(content.digest).write_bytes(content.data)
    scrubber = Scrubber(cache)
    path = cache.layout.root / "scrub.json"
    path.write_text(json.dumps({"boot": scrubber._boot_id(), "after": None, "begun": 10**400}))
    assert scrubber.walk().blobs == 1
    path.unlink()
    os.mkfifo(path)
    assert scrubber.walk().blobs == 1


def test_a_pipe_among_the_blobs_goes_and_is_not_waited_for(make_cache: MakeCache, content: Content) -> None:
    cache = make_cache()
    os.mkfifo(cache.layout.path(content.digest))
    assert Scrubber(cache).remove_empty() == 1
    assert not cache.contains(content.digest)
