"""A blob of small chunks, and transfers of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chunks import Content
from tests.unit.lazy.bench import SMALL, Bench


@pytest.fixture(scope="module")
def content() -> Content:
    return Content(40 * SMALL + 1000)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()
