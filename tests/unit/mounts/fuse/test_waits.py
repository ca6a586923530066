"""Who waits is settled once; who is dying is let go, and nobody else."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelcar.errors import InvalidDocument
from modelcar.mounts.fuse.waits import Wait, Waits, is_dying
from tests.support.waiting import eventually


def wait(unique: int, pid: int = 0, began: float | None = None) -> Wait:
    began = time.monotonic() if began is None else began
    return Wait(unique=unique, node=5, offset=4096, size=4096, lane=1, pid=pid, began=began)


@contextmanager
def watched(patience: float = 60) -> Iterator[tuple[Waits, list[tuple[int, int]]]]:
    settled: list[tuple[int, int]] = []
    waits = Waits(lambda wait, number: settled.append((wait.unique, number)), patience=patience)
    thread = threading.Thread(target=waits.watch)
    thread.start()
    try:
        yield waits, settled
    finally:
        waits.close()
        thread.join()


@contextmanager
def program(script: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", f"{script}\nprint(flush=True)\nimport time; time.sleep(60)"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_a_wait_is_read_as_it_was_written() -> None:
    one = wait(2**63, pid=2**31, began=1.5)
    assert Wait.parse(one.to_bytes()) == one
    assert len(one.to_bytes()) <= 60
    with pytest.raises(InvalidDocument, match="a waiting read"):
        Wait.parse(one.to_bytes()[:-1])


def test_only_the_first_settles() -> None:
    with watched() as (waits, settled):
        waits.add(wait(1))
        waits.settled(1, 0)
        waits.settled(1, errno.EIO)
        waits.settled(2, 0)
        assert settled == [(1, 0)]
        assert len(waits) == 0


def test_patience_counts_from_when_the_read_began_even_in_another_process() -> None:
    with watched(patience=5) as (waits, settled):
        waits.add(wait(1))
        waits.add(wait(2, began=time.monotonic() - 5))
        eventually(lambda: settled, "the older one gives up", within=60)
        assert settled == [(2, errno.EIO)]


def test_a_place_is_late_only_where_it_was_waited_for() -> None:
    with watched(patience=5) as (waits, settled):
        waits.add(wait(1, began=time.monotonic() - 5))
        eventually(lambda: settled, "it gives up", within=60)
        assert waits.was_late(5, 4096)
        assert waits.was_late(5, 8191)
        assert not waits.was_late(5, 8192)
        assert not waits.was_late(5, 0)
        assert not waits.was_late(6, 4096)


def stopped(process: subprocess.Popen[bytes]) -> None:
    """Signals stay pending, as they do for a reader that the kernel keeps."""
    process.send_signal(signal.SIGSTOP)
    eventually(lambda: "T (stopped)" in Path(f"/proc/{process.pid}/status").read_text(), "it stops")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1])
def test_a_deadly_signal_lets_a_reader_go(number: signal.Signals) -> None:
    with (
        program("import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)") as process,
        watched() as (waits, settled),
    ):
        stopped(process)
        waits.interrupt(1)  # may be heard of first
        waits.add(wait(1, pid=process.pid))
        waits.add(wait(2, pid=process.pid))
        time.sleep(0.5)
        assert settled == []
        process.send_signal(number)
        eventually(lambda: settled, "the dying reader is let go", within=60)
        assert settled == [(1, errno.EINTR)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGCHLD, signal.SIGWINCH])
def test_a_signal_that_is_handled_ignored_blocked_or_harmless_does_not(number: signal.Signals) -> None:
    handled = """import signal
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])"""
    with program(handled) as process:
        stopped(process)
        process.send_signal(number)
        assert not is_dying(process.pid)


def test_who_is_gone_or_cannot_be_seen_is_not_dying() -> None:
    assert not is_dying(0)
    assert not is_dying(2**22 + 1)
    assert not is_dying(os.getpid())
