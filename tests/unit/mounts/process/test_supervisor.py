"""The supervisor alone, with shell commands for workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from modelcar.mounts.process import supervisor
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

RUN = f"""
import os, sys
sys.path.insert(0, {str(Path(supervisor.__file__).parent)!r})
import supervisor
supervisor._GIVE_UP = 3
workers, first = int(sys.argv[1]), os.fork()
if first == 0:
    os.execv("/bin/sh", ["/bin/sh", "-c", sys.argv[2]])
mount = ["/nowhere", "0:0", sys.argv[4], sys.argv[5]]
os._exit(supervisor.main([*mount, str(workers), str(first), "/bin/sh", "-c", sys.argv[3]]))
"""


@contextmanager
def supervised(
    first: str, then: str, *, may_give_up: bool = True, limit: float = 30.0
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """With the workers' end of the socket."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-I", "-S", "-c", RUN, str(ours.fileno()), first, then]
    command += [str(may_give_up), str(limit)]
    with subprocess.Popen(command, pass_fds=[ours.fileno()]) as process:
        ours.close()
        try:
            yield process, theirs
        finally:
            process.kill()
            theirs.close()


def test_a_worker_that_ends_well_ends_it() -> None:
    with supervised("exit 0", "exit 1") as (process, _):
        assert process.wait(timeout=20) == 0


def test_a_worker_that_dies_has_a_successor(tmp_path: Path) -> None:
    with supervised("kill -9 $$", f"touch {tmp_path}/next; exit 0") as (process, _):
        assert process.wait(timeout=20) == 0
    assert (tmp_path / "next").exists()


def test_it_gives_up_when_none_gets_to_serve(tmp_path: Path) -> None:
    with supervised("exit 1", f"echo >> {tmp_path}/tries; exit 1") as (process, _):
        assert process.wait(timeout=20) == 1
    assert (tmp_path / "tries").read_text() == "\n\n"


def test_it_holds_on_where_giving_up_would_show_what_was_never_there(tmp_path: Path) -> None:
    with supervised("exit 1", f"echo >> {tmp_path}/tries; exit 1", may_give_up=False) as (process, _):
        eventually(lambda: (tmp_path / "tries").exists() and len((tmp_path / "tries").read_text()) > 3, "it goes on")
        assert process.poll() is None


def test_it_does_not_give_up_on_those_that_serve_for_a_while(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    told = f"until test -e {tmp_path}/told$(wc -l < {tries}); do sleep 0.02; done"
    worker = f"echo >> {tries}; test -e {tmp_path}/enough && exit 0; {told}; exit 1"
    with supervised("exit 1", worker) as (process, workers):
        for count in range(1, 8):
            eventually(lambda count=count: tries.exists() and len(tries.read_text()) >= count, "the next one starts")  # type: ignore[misc]  # mypy takes no lambda with a default
            workers.send(b"\1")
            if count == 7:
                (tmp_path / "enough").touch()
            (tmp_path / f"told{count}").touch()
        assert process.wait(timeout=20) == 0


def test_workers_do_not_hold_the_end_of_the_socket_that_says_that_it_lives() -> None:
    with supervised("exit 1", "exec sleep 60") as (process, workers):
        workers.settimeout(20)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        eventually(lambda: _command(children.read_text()) == "sleep", "the second worker")
        worker = int(children.read_text())
        process.kill()
        assert workers.recv(1) == b""
        os.kill(worker, signal.SIGKILL)


def test_a_worker_that_falls_silent_is_replaced(tmp_path: Path) -> None:
    stopped = f"echo $$ > {tmp_path}/first; kill -STOP $$; exit 1"
    with supervised(stopped, f"touch {tmp_path}/next; exit 0", limit=0.2) as (process, workers):
        eventually(lambda: (tmp_path / "first").exists() and (tmp_path / "first").read_text(), "it begins")
        workers.send(b"\1")
        assert process.wait(timeout=60) == 0
    assert (tmp_path / "next").exists()
    assert not Path(f"/proc/{(tmp_path / 'first').read_text().strip()}").exists()


def test_a_worker_that_gives_signs_is_left_alone(tmp_path: Path) -> None:
    with supervised(f"echo $$ > {tmp_path}/first; exec sleep 1000", "exit 9", limit=60.0) as (process, workers):
        for _ in range(3000):  # many more than one look takes in at a time
            with suppress(BlockingIOError):
                workers.send(b"\1", socket.MSG_DONTWAIT)
        eventually(lambda: (tmp_path / "first").exists() and (tmp_path / "first").read_text().strip(), "it runs")
        first = int((tmp_path / "first").read_text())
        os.kill(first, signal.SIGCONT)  # which its parent is told of, too
        assert process.poll() is None
        os.kill(first, signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{first}").exists(), "it is gone")


def _command(children: str) -> str:
    return Path(f"/proc/{int(children)}/comm").read_text().strip() if children.strip() else ""


def test_it_needs_nothing_but_a_bare_interpreter() -> None:
    folder = str(Path(supervisor.__file__).parent)
    script = f"import sys; sys.path.insert(0, {folder!r}); import supervisor; print(sorted(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=20, check=True
    ).stdout
    for heavy in ("subprocess", "socket", "ctypes", "json", "re", "logging", "threading"):
        assert f"'{heavy}'" not in modules
