"""The loop, with sockets in the place of the kernel: every request has one answer, and nothing ends the loop."""

from __future__ import annotations

import errno
import os
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.mounts.fuse.server import Server
from modelcar.mounts.fuse.tree import Tree
from modelcar.mounts.fuse.wire import Opcode, Read, Request
from modelcar.mounts.process.journal import Journal, Left, create_journal
from modelcar.mounts.testing import ScriptedDoor
from tests.support.examples import examples
from tests.support.plans import plan_of
from tests.support.waiting import eventually

CONTENT = random.Random(7).randbytes(40_000)
PLAN = plan_of([len(CONTENT), 100], {"weights": (0, 4096, 30_000), "empty": (0, 0, 0), "z": (1, 0, 100)}, {"link": "z"})
EMPTY, WEIGHTS = 2, 3
"""Their numbers: files are numbered in the order of their paths."""


@dataclass
class Kernel:
    """Asks by its own ends of the lanes."""

    lanes: list[socket.socket]
    door: ScriptedDoor
    journal: int
    answers: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    notices: list[bytes] = field(default_factory=list)

    def ask(self, opcode: int, node: int = 1, body: bytes = b"", *, unique: int, lane: int = 0, pid: int = 0) -> None:
        self.lanes[lane].send(Request(opcode=opcode, unique=unique, node=node, pid=pid, body=body).to_bytes())

    def read(self, offset: int, size: int, *, unique: int, lane: int = 0, node: int = WEIGHTS, pid: int = 0) -> None:
        self.ask(Opcode.READ, node, Read(offset=offset, size=size).to_bytes(), unique=unique, lane=lane, pid=pid)

    def answer(self, unique: int, within: float = 20) -> tuple[int, bytes]:
        """The `errno` and the body."""
        while unique not in self.answers:
            self._take(within)
        return self.answers[unique]

    def silent(self, seconds: float = 0.1) -> bool:
        return not select.select(self.lanes, [], [], seconds)[0]

    def _take(self, within: float) -> None:
        ready, _, _ = select.select(self.lanes, [], [], within)
        assert ready, "no answer"
        for lane in ready:
            raw = lane.recv(1 << 20)
            length, error, unique = struct.unpack_from("=IiQ", raw)
            assert length == len(raw)
            if unique == 0:
                self.notices.append(raw)
                continue
            assert unique not in self.answers, "answered twice"
            self.answers[unique] = (-error, raw[16:])


@contextmanager
def served(
    *, lanes: int = 2, step: int | None = None, patience: float = 60, journal: int | None = None
) -> Iterator[Kernel]:
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(lanes)]
    memory = create_journal() if journal is None else journal
    door = ScriptedDoor([CONTENT, b"z" * 100], step=step)
    server = Server([ours.fileno() for ours, _ in pairs], Tree(PLAN), door, Journal(memory), patience=patience)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield Kernel([theirs for _, theirs in pairs], door, memory)
    finally:
        for _, theirs in pairs:
            theirs.shutdown(socket.SHUT_WR)
        thread.join()
        for pair in pairs:
            for end in pair:
                end.close()
        door.close()
        if journal is None:
            os.close(memory)


def expected(offset: int, size: int) -> bytes:
    return CONTENT[4096 : 4096 + 30_000][offset : offset + size]


@given(st.lists(st.tuples(st.integers(0, 31_000), st.integers(0, 20_000)), min_size=1, max_size=20))
@examples(30)
def test_reads_are_whole_but_at_the_end_of_the_file(ranges: list[tuple[int, int]]) -> None:
    with served(step=4096) as kernel:
        for number, (offset, size) in enumerate(ranges):
            kernel.read(offset, size, unique=number + 1, lane=number % 2)
        for number, (offset, size) in enumerate(ranges):
            assert kernel.answer(number + 1) == (0, expected(offset, size))
        eventually(lambda: Journal(kernel.journal).left().kept == {}, "nothing is left to answer")


def test_an_empty_file_asks_for_nothing() -> None:
    with served() as kernel:
        kernel.read(0, 4096, unique=1, node=EMPTY)
        assert kernel.answer(1) == (0, b"")
        assert kernel.door.asked == []


def test_thousands_wait_and_others_go_on() -> None:
    with served() as kernel:
        for unique in range(1, 3001):
            kernel.read(unique, 8, unique=unique, lane=unique % 2)
        kernel.ask(Opcode.GETATTR, WEIGHTS, unique=5000)
        kernel.door.arrive(1)
        kernel.read(0, 4, unique=5001, node=4)
        assert kernel.answer(5000)[0] == 0
        assert kernel.answer(5001) == (0, b"zzzz")
        assert len(kernel.answers) == 2
        kernel.door.arrive(0)
        assert all(kernel.answer(unique) == (0, expected(unique, 8)) for unique in range(1, 3001))


def test_a_range_that_comes_in_parts_is_answered_when_the_last_is_here() -> None:
    with served() as kernel:
        kernel.read(0, 8192, unique=1)
        kernel.door.arrive(0, 4096, 4096)
        assert kernel.silent()
        kernel.door.arrive(0, 8192, 4096)
        assert kernel.answer(1) == (0, expected(0, 8192))


def test_a_failure_reaches_the_reader_and_the_next_try_may_do() -> None:
    with served() as kernel:
        kernel.read(0, 10, unique=1)
        assert kernel.silent()
        kernel.door.fail(errno.ENOSPC)
        assert kernel.answer(1) == (errno.ENOSPC, b"")
        kernel.door.arrive(0)
        kernel.read(0, 10, unique=2)
        assert kernel.answer(2) == (0, expected(0, 10))


def test_patience_ends_and_the_kernels_second_try_is_not_kept_waiting_again() -> None:
    with served(patience=0.3) as kernel:
        kernel.read(4096, 8192, unique=1)
        assert kernel.answer(1) == (errno.EIO, b"")
        kernel.read(8192, 4096, unique=2)
        assert kernel.answer(2) == (errno.EIO, b"")
        assert len(kernel.door.asked) == 1
        kernel.read(16384, 4096, unique=3)
        kernel.door.arrive(0)
        assert kernel.answer(3) == (0, expected(16384, 4096))


def test_a_file_that_is_shorter_than_it_should_be_is_an_error_and_no_short_answer() -> None:
    with served() as kernel:
        kernel.door.arrive(0)
        os.ftruncate(kernel.door.fileno(0), 8192)
        kernel.read(0, 8192, unique=1)
        assert kernel.answer(1) == (errno.EIO, b"")


def test_a_revoked_blob_is_dropped_from_the_cache_and_readable_no_more() -> None:
    with served() as kernel:
        kernel.door.arrive(0)
        kernel.door.arrive(1)
        kernel.read(0, 10, unique=1)
        assert kernel.answer(1)[0] == 0
        kernel.door.revoke(0, errno.EIO)
        kernel.read(0, 10, unique=2)
        assert kernel.answer(2) == (errno.EIO, b"")
        while len(kernel.notices) < 2:
            kernel._take(20)
        assert {struct.unpack_from("=IiQQqq", notice)[1:] for notice in kernel.notices} == {
            (2, 0, EMPTY, 0, 0),
            (2, 0, WEIGHTS, 0, 0),
        }
        kernel.read(0, 4, unique=3, node=4)
        assert kernel.answer(3) == (0, b"zzzz")


def test_what_a_worker_left_is_answered_by_the_next() -> None:
    with served() as first:
        first.read(0, 8192, unique=1)
        first.read(100, 10, unique=2, lane=1)
        while len(Journal(first.journal).left().kept) < 2:
            assert first.silent(0.01)
        memory = os.dup(first.journal)
    # Killed between reading a request and dealing with it, in lane 1.
    pending = Request(opcode=Opcode.GETATTR, unique=3, node=WEIGHTS, pid=0, body=bytes(16)).to_bytes()
    Journal(memory).landing(1)[: len(pending)] = pending
    with served(journal=memory) as second:
        assert second.answer(3)[0] == 0
        assert second.silent()
        second.door.arrive(0)
        assert second.answer(1) == (0, expected(0, 8192))
        assert second.answer(2) == (0, expected(100, 10))
        eventually(lambda: Journal(memory).left() == Left(landings={}, kept={}), "nothing is left to answer")
    os.close(memory)


def test_a_signal_that_ends_nobody_ends_no_read() -> None:
    with served() as kernel:
        kernel.read(0, 10, unique=1, pid=os.getpid())
        kernel.ask(Opcode.INTERRUPT, body=struct.pack("=Q", 1), unique=2)
        assert kernel.silent(0.6)
        kernel.door.arrive(0)
        assert kernel.answer(1) == (0, expected(0, 10))


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=200), st.integers(0, 60)), max_size=30), st.randoms())
@examples(40)
def test_noise_does_not_end_the_loop(noise: list[bytes | int], randomness: random.Random) -> None:
    with served(step=4096) as kernel:
        for number, item in enumerate(noise):
            lane = number % 2
            if isinstance(item, bytes):
                kernel.lanes[lane].send(item)
            else:
                body = randomness.randbytes(randomness.randrange(60))
                kernel.ask(item, randomness.randrange(8), body, unique=1000 + number, lane=lane)
        kernel.answers.clear()
        for lane in (0, 1):
            kernel.read(0, 10, unique=10**15 + lane, lane=lane)
        for lane in (0, 1):
            assert kernel.answer(10**15 + lane) == (0, expected(0, 10))


@pytest.mark.parametrize("opcode", [Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.DESTROY, Opcode.INTERRUPT])
def test_some_requests_have_no_answer(opcode: int) -> None:
    with served(lanes=1) as kernel:
        kernel.ask(opcode, body=bytes(8), unique=1)
        kernel.ask(Opcode.STATFS, unique=2)
        assert kernel.answer(2)[0] == 0
        assert list(kernel.answers) == [2]
