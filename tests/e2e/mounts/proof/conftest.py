"""An upstream for each test, and a machine for each way to mount."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.e2e.mounts.erofs import requires_erofs
from tests.e2e.mounts.proof.node import Node, node
from tests.e2e.shim_proof.upstream import Upstream, upstream


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short name, for sockets, on a disk: the kernel wants a real file system under its mounts."""
    with TemporaryDirectory(prefix="mcp-", dir="/var/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def origin(place: Path) -> Iterator[Upstream]:
    with upstream(place / "upstream") as one:
        yield one


@pytest.fixture(params=["erofs", "fuse"])
def front(request: pytest.FixtureRequest, place: Path) -> str:
    """Each way to mount that there is here."""
    if request.param == "erofs":
        requires_erofs(place)
    return str(request.param)


@pytest.fixture
def machine(front: str, place: Path, origin: Upstream) -> Iterator[Node]:
    with node(place / "node", front, origin.address) as one:
        yield one
