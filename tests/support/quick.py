"""The rule that quick tests are quick: docs/decisions/0032-quick-tests.md."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from typing import Final

import pytest
import urllib3.util.connection  # noqa: F401  # finds out, when it is imported, whether it can bind a socket of IPv6

__all__ = ["QuickTests"]

_PROCESS: Final = "starts a process"
_NOT_QUICK: Final = {
    "subprocess.Popen": _PROCESS,
    "os.fork": _PROCESS,
    "os.forkpty": _PROCESS,
    "os.posix_spawn": _PROCESS,
    "os.system": _PROCESS,
    "socket.bind": "binds a socket",
    "socket.connect": "connects a socket",
}
"""Audit events of the interpreter, and what they mean."""


class QuickTests:
    """A plugin of pytest. A test in one of `folders` that is not marked `slow` fails if it starts a process or opens a
    connection, or one of its fixtures does, wherever it runs and whatever ran before.

    Fixtures of the session may: they do it once, and who uses them in earnest has to connect.
    """

    def __init__(self, *folders: str) -> None:
        self._folders = folders
        self._seen: set[str] = set()
        self._shared: dict[pytest.FixtureDef[object], set[str]] = {}
        self._of_others: frozenset[int | None] = frozenset()
        sys.addaudithook(self._audit)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        # What the threads of earlier tests still do is not this one's.
        self._of_others = frozenset(t.ident for t in threading.enumerate()) - {threading.get_ident()}
        self._seen = set()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
        before, self._seen = self._seen, set()
        try:
            return (yield)
        finally:
            if fixturedef.scope == "function":
                before |= self._seen
            elif fixturedef.scope != "session" and self._seen:
                self._shared[fixturedef] = self._seen
            self._seen = before

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Function) -> Generator[None, object, object]:
        result = yield
        if item.nodeid.startswith(self._folders) and not item.get_closest_marker("slow"):
            used = [fixture for several in item._fixtureinfo.name2fixturedefs.values() for fixture in several]
            done = self._seen.union(*(self._shared.get(fixture, ()) for fixture in used))
            if done:
                pytest.fail(
                    f"it {' and '.join(sorted(done))}, which no quick test does: do without, or mark the test "
                    "(@pytest.mark.slow) or its module (pytestmark = pytest.mark.slow)",
                    pytrace=False,
                )
        return result

    def _audit(self, event: str, _: object) -> None:
        done = _NOT_QUICK.get(event)
        if done is not None and threading.get_ident() not in self._of_others:
            self._seen.add(done)
