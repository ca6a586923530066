"""Fixtures for every tier, and the rule that what CI needs is never skipped there."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.examples import use_profile
from tests.support.quick import QuickTests
from tests.support.skips import unavailable
from tests.support.start import after_collection, before_collection, is_slow

use_profile()


def pytest_configure(config: pytest.Config) -> None:
    """A shell's `&` and nohup have those they start ignore signals; what is tested here must not inherit that. And what
    calls itself quick is held to it."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    config.pluginmanager.register(QuickTests("tests/unit/", "tests/contracts/", "tests/golden/"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Whatever is collected lives as long as the process."""
    before_collection()
    try:
        return (yield)
    finally:
        after_collection()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what the marks would deselect anyway."""
    return True if config.option.markexpr == "not slow" and is_slow(collection_path) else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine lacks, except in CI, where it is a failure."""
    missing = [
        c for mark in item.iter_markers("debian") for c in mark.args if shutil.which(c, path=_search_path()) is None
    ]
    reasons = [f"needs {', '.join(missing)} (make install-debian)"] if missing else []
    if any(item.iter_markers("root")) and os.geteuid() != 0:
        reasons.append("needs root")
    if any(item.iter_markers("root")) and not _root_is_mounted():
        reasons.append("needs / to be a mount point, as container engines do; in a bare chroot it is none")
    if reasons:
        unavailable("; ".join(reasons))


def _root_is_mounted() -> bool:
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == "/" for line in mounts)


def _search_path() -> str:
    """PATH with the folders that daemons live in, which plain users often lack."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
