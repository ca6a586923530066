"""The rule for quick tests holds for what they do, for their fixtures and for their threads, and for nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CONFTEST = """
from tests.support.quick import QuickTests

def pytest_configure(config):
    config.pluginmanager.register(QuickTests("quick/"))
"""
TESTS = """
import os, socket, subprocess, sys, threading
import pytest

def process(): subprocess.run([sys.executable, "-c", ""], check=True)
def fork(): os.waitpid(os.fork() or os._exit(0), 0)
def door(): socket.create_server(("127.0.0.1", 0)).close()
def thread(): (t := threading.Thread(target=door)).start(); t.join()

@pytest.fixture
def server(): door()

@pytest.fixture(scope="module")
def shared(): door()

@pytest.fixture(scope="session")
def single(): door()

@pytest.fixture(scope="module")
def background():
    done, go = threading.Event(), threading.Event()
    def serve(): go.wait(); door(); done.set()
    threading.Thread(target=serve).start()
    return go, done

def test_pure(single): [end.close() for end in socket.socketpair()]
"""


def run(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = slow\n")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "quick").mkdir()
    (folder / "quick/test_here.py").write_text(TESTS + tests)
    (folder / "test_elsewhere.py").write_text(TESTS + tests)
    plugins = {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_PLUGINS": "",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "quick", "test_elsewhere.py"],
        cwd=folder,
        env={**os.environ, **plugins},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("test", "what"),
    [
        ("def test_it(): process()", "starts a process"),
        ("def test_it(): fork()", "starts a process"),
        ("def test_it(): door()", "binds a socket"),
        ("def test_it(): thread()", "binds a socket"),
        ("def test_it(server): pass", "binds a socket"),
        ("@pytest.mark.slow\ndef test_first(shared): pass\n\ndef test_it(shared): pass", "binds a socket"),
        ("def test_it(): socket.socket().connect_ex(('127.0.0.1', 1))", "connects a socket"),
    ],
)
def test_what_is_not_quick_fails_unless_it_is_marked(tmp_path: Path, test: str, what: str) -> None:
    done = run(tmp_path, f"{test}\n\n@pytest.mark.slow\n{test.splitlines()[-1].replace('test_it', 'test_marked')}")
    assert done.returncode == 1, done.stdout
    assert f"it {what}, which no quick test does" in done.stdout
    assert "FAILED quick/test_here.py::test_it " in done.stdout
    assert done.stdout.count("FAILED") == 1


def test_what_threads_of_earlier_tests_do_is_not_blamed_on_others(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "@pytest.mark.slow\ndef test_a(background): pass\n"
        "def test_b(background): background[0].set(); assert background[1].wait(30)\n",
    )
    assert done.returncode == 0, done.stdout
