"""What one process wrote before it was killed, another reads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.mounts.process.journal import LANES, Journal, Left, create_journal


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = create_journal()
    yield descriptor
    os.close(descriptor)


def test_a_new_journal_has_nothing_left(memory: int) -> None:
    assert Journal(memory).left() == Left(landings={}, kept={})


def test_what_was_read_is_there_until_it_is_dealt_with(memory: int) -> None:
    journal = Journal(memory)
    reading, writing = os.pipe()
    os.write(writing, b"request")
    os.readv(reading, [journal.landing(3)])
    os.close(reading)
    os.close(writing)
    (lane, raw), *others = Journal(memory).left().landings.items()
    assert (lane, raw[:7], others) == (3, b"request", [])
    journal.landed(3)
    assert Journal(memory).left().landings == {}


def test_landings_are_apart(memory: int) -> None:
    journal = Journal(memory)
    for lane in range(LANES):
        landing = journal.landing(lane)
        landing[:] = bytes([lane + 1]) * len(landing)
    kept = journal.keep(b"kept")
    left = Journal(memory).left()
    assert left.landings == {lane: bytes([lane + 1]) * 8192 for lane in range(LANES)}
    assert left.kept == {kept: b"kept"}


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=60), st.integers(0, 20)), max_size=60))
def test_records_are_there_from_keeping_to_release(steps: list[bytes | int]) -> None:
    """A number releases one of those that are kept, or else stands for a worker that dies and one that comes."""
    memory = create_journal()
    journal, kept = Journal(memory), dict[int, bytes]()
    for step in steps:
        if isinstance(step, bytes):
            slot = journal.keep(step)
            assert slot not in kept
            kept[slot] = step
        elif step < len(kept):
            journal.release(slot := list(kept)[step])
            del kept[slot]
        else:
            journal = Journal(memory)
        assert Journal(memory).left().kept == kept
    os.close(memory)


@pytest.mark.parametrize("record", [b"", bytes(61)])
def test_a_record_that_does_not_fit_is_refused(memory: int, record: bytes) -> None:
    with pytest.raises(ValueError, match=f"a record of {len(record)} bytes"):
        Journal(memory).keep(record)


def test_a_full_journal_says_so_and_goes_on_when_it_has_room(memory: int) -> None:
    journal = Journal(memory)
    slots = {journal.keep(b"%d" % n) for n in range(65536)}
    assert len(slots) == 65536
    with pytest.raises(MemoryError, match="full"):
        journal.keep(b"one more")
    journal.release(777)
    assert journal.keep(b"one more") == 777
    assert len(Journal(memory).left().kept) == 65536


def test_threads_get_slots_of_their_own(memory: int) -> None:
    journal = Journal(memory)

    def work(name: int) -> None:
        for turn in range(300):
            slot = journal.keep(b"%d %d" % (name, turn))
            if turn % 3:
                journal.release(slot)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = sorted(b"%d %d" % (name, turn) for name in range(6) for turn in range(0, 300, 3))
    assert sorted(Journal(memory).left().kept.values()) == expected
