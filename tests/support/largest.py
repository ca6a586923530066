"""A plugin of pytest (`-p tests.support.largest`): says at the end how long the tests took, and the largest modules."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import pytest

_SHOWN: Final = 10
_SECONDS: Final = defaultdict[str, float](float)
"""Of each module: its tests and what was set up for them. With several workers they add up to more than has passed."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _SECONDS[report.nodeid.partition("::")[0]] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    total = sum(_SECONDS.values())
    terminalreporter.section(f"{total:.1f} s in {len(_SECONDS)} modules, most of it in")
    for module, seconds in sorted(_SECONDS.items(), key=lambda item: -item[1])[:_SHOWN]:
        terminalreporter.write_line(f"{seconds:6.1f} s  {module}")
