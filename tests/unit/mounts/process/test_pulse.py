"""Signs of life: given as long as threads get on, and a worker that does not ends."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from modelcar.mounts.process.pulse import BEAT, Pulse

pytestmark = pytest.mark.slow

RUN = """
import itertools, logging, os, socket, sys, time
from modelcar.mounts.process.pulse import Pulse
logging.basicConfig()
steps = itertools.count()
busy = {"idle": lambda: [], "steps": lambda: [next(steps)], "stuck": lambda: ["it"]}
Pulse(socket.socket(fileno=int(sys.argv[1])), 0.3).follow(busy[sys.argv[2]])
time.sleep(600)
"""


@contextmanager
def worker(kind: str) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    with ours, theirs:
        command = [sys.executable, "-c", RUN, str(theirs.fileno()), kind]
        with subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process, ours
            finally:
                process.kill()


@pytest.mark.parametrize("kind", ["idle", "steps"])
def test_a_worker_that_gets_on_gives_signs(kind: str) -> None:
    with worker(kind) as (process, supervisor):
        heard = sum(len(supervisor.recv(1)) for _ in range(30))
        assert heard == 30
        assert process.poll() is None


def test_one_that_does_not_ends_and_says_where_it_was() -> None:
    with worker("stuck") as (process, _):
        assert process.wait(timeout=60) == 1
        assert process.stderr is not None
        said = process.stderr.read()
    assert "a thread has got nowhere for 0.3 s" in said
    assert "in _run" in said


def test_nobody_who_listens_holds_it_up() -> None:
    """The supervisor may be stopped: what it does not read must not stop the worker."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        pulse = Pulse(theirs, 60.0)
        for _ in itertools.repeat(None, 5000):
            pulse._beat()
        assert ours.recv(1) == BEAT
        ours.close()
        pulse._beat()
