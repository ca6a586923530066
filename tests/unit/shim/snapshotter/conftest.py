from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.snapshots import RememberingMounter, Workbench


@pytest.fixture
def mounter() -> RememberingMounter:
    return RememberingMounter()


@pytest.fixture
def bench(tmp_path: Path, mounter: RememberingMounter) -> Iterator[Workbench]:
    found = Workbench(tmp_path / "root", mounter)
    yield found
    mounter.open.set()
    found.close()
