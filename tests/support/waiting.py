"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

__all__ = ["eventually"]


def eventually(condition: Callable[[], object], what: str = "what is waited for", within: float = 60.0) -> None:
    """Look again and again until it is so; the test fails where it is not within so many seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {within:.0f} s")
        time.sleep(0.01)
