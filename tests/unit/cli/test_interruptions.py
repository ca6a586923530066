"""Signals at moments when an exception would leave a lock taken for ever, or go nowhere."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.slow

# A command whose main thread gets a signal when `code` is called ("call") or something in C returns to it ("c_return").
SCRIPT = """
import faulthandler, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor, Future, wait
from concurrent.futures import _base
import click
from modelcar import __main__, cli
from modelcar.cli.program import run_program
from modelcar.registry.cancel import run_parallel

faulthandler.dump_traceback_later(15, exit=True)
__main__._PATIENCE = 60
signals = [getattr(signal, name) for name in sys.argv[1].split(",")]

def at(code, what, is_it=lambda caller: True):
    def look(frame, event, arg):
        if event == what and frame.f_code is code and signals and is_it(frame.f_back.f_code):
            sys.setprofile(None)
            signal.raise_signal(signals.pop())
    sys.setprofile(look)

@click.group()
def group():
    pass

@group.command()
def work():
{work}

cli.main = lambda: run_program(group, "modelcar", ["work"])
__main__.run()
"""
ENTER, EXIT = "threading.Condition.__enter__.__code__", "threading.Condition.__exit__.__code__"
WORK = {
    "event": """
    done = threading.Event()
    at(ENTER, "c_return")
    try:
        done.set()
    finally:
        done.set()
    threading.Event().wait(10)
""",
    "letting-go": """
    done = threading.Event()
    at(EXIT, "call")
    try:
        done.set()
    finally:
        done.set()
    threading.Event().wait(10)
""",
    "workers": """
    SEMAPHORE = threading.Semaphore.acquire.__code__
    at(ENTER, "c_return", lambda caller: caller is SEMAPHORE and threading.active_count() > 1)
    run_parallel([lambda: time.sleep(0.2)] * 4, 2)
    threading.Event().wait(10)
""",
    "futures": """
    go = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(go.wait, 5)
        at(_base._AcquireFutures.__enter__.__code__, "c_return")
        try:
            wait([future])
        finally:
            go.set()
    threading.Event().wait(10)
""",
    "imports": """
    from importlib import _bootstrap
    at(_bootstrap._get_module_lock.__code__, "c_return")
    try:
        import wave
    finally:
        other = threading.Thread(target=__import__, args=["colorsys"])
        other.start()
        other.join()
    threading.Event().wait(10)
""",
    "the-end": """
    at(ENTER, "c_return", lambda caller: len(signals) == 1)
    signal.raise_signal(signals.pop(0))
""",
}


def ended(work: str, *numbers: signal.Signals) -> subprocess.CompletedProcess[str]:
    code = SCRIPT.replace("{work}", work.replace("ENTER", ENTER).replace("EXIT", EXIT))
    names = ",".join(number.name for number in numbers)
    return subprocess.run([sys.executable, "-c", code, names], cwd=ROOT, capture_output=True, text=True, timeout=60)


if hasattr(threading.Thread, "_wait_for_tstate_lock"):  # from Python 3.13 on it is C that waits
    WORK["join"] = """
    thread = threading.Thread(target=time.sleep, args=[0.2])
    thread.start()

    class Interrupted:
        def __init__(self, lock):
            self.lock, self.release = lock, lock.release
        def acquire(self, *how):
            self.lock.acquire(*how)
            signal.raise_signal(signals[0])
        def locked(self):
            signal.raise_signal(signals[1])
            return self.lock.locked()

    thread._tstate_lock = Interrupted(thread._tstate_lock)
    thread.join()
"""


@pytest.mark.parametrize("work", WORK)
def test_no_lock_stays_taken(work: str) -> None:
    numbers = [signal.SIGHUP, signal.SIGTERM] if work in ("join", "the-end") else [signal.SIGTERM]
    done = ended(WORK[work], *numbers)
    assert done.stderr == "modelcar: interrupted; nothing half-written is visible\n"
    assert done.returncode in [128 + number for number in numbers]


def test_a_terminal_that_takes_nothing_holds_nobody_up() -> None:
    code = """
import os, signal
import click
from modelcar import __main__, cli
from modelcar.cli import interruptions
from modelcar.cli.program import run_program

interruptions._PATIENCE = 0.2

@click.group()
def group():
    pass

@group.command()
def work():
    os.set_blocking(1, False)
    try:
        while True:
            os.write(1, b"x")
    except BlockingIOError:
        os.set_blocking(1, True)
    signal.raise_signal(signal.SIGTERM)

cli.main = lambda: run_program(group, "modelcar", ["work"])
__main__.run()
"""
    nobody, terminal = pty.openpty()
    try:
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=terminal, stderr=terminal)
        try:
            assert process.wait(timeout=30) == 128 + signal.SIGTERM
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(terminal)
        os.close(nobody)
