"""An upstream for each test, and shims in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.shim_proof.node import Node, node
from tests.e2e.shim_proof.upstream import Upstream, upstream


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Upstream]:
    with upstream(tmp_path / "upstream") as one:
        yield one


@pytest.fixture
def shim(tmp_path: Path, origin: Upstream) -> Iterator[Node]:
    """With the options of the issue, and nothing else."""
    with node(tmp_path / "node", origin.address) as one:
        yield one


@pytest.fixture
def forgetful(tmp_path: Path, origin: Upstream) -> Iterator[Node]:
    """A shim that forgets refusals, permissions and tags after a second, so that tests need not wait for minutes."""
    settings = {
        "cache": {"mismatch_pause": "1s"},
        "mirror": {"access_seconds": "1s", "tag_seconds": "1s", "missing_seconds": "1s", "refused_seconds": "1s"},
    }
    with node(tmp_path / "forgetful", origin.address, settings) as one:
        yield one
