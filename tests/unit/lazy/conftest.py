"""A blob of small chunks, and transfers of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.lazy import scheduler
from tests.support.chunks import Content
from tests.unit.lazy.bench import SMALL, Bench


@pytest.fixture(scope="module")
def content() -> Content:
    return Content(40 * SMALL + 1000)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rests of sources are short here, and nothing has to wait for the next look at them."""
    monkeypatch.setattr(scheduler, "_TICK", 0.01)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()
