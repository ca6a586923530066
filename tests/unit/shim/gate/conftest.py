"""An upstream to stand in front of."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.store import LocalStore
from tests.support.gate import Upstream


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(LocalStore(tmp_path / "upstream"))
