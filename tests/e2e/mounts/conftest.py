"""Users of the command, and a model of many chunks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.e2e.conftest import Published
from tests.e2e.mounts.users import User
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.relay import Relay
from tests.support.checkpoints import make_checkpoint


@pytest.fixture(params=["fuse", "erofs"])
def user(request: pytest.FixtureRequest) -> Iterator[User]:
    with TemporaryDirectory(prefix="mc-", ignore_cleanup_errors=True) as name:
        user = User(Path(name), request.param)
        try:
            yield user
        finally:
            user.end()


@pytest.fixture
def fuse_user() -> Iterator[User]:
    with TemporaryDirectory(prefix="mc-", ignore_cleanup_errors=True) as name:
        user = User(Path(name), "fuse")
        try:
            yield user
        finally:
            user.end()


@pytest.fixture
def relay(model: Published) -> Iterator[Relay]:
    with Relay(model.ref.partition("/")[0]) as relay:
        yield relay


@pytest.fixture(scope="session")
def large(workspace: Path, modelcar: Modelcar, embedded: str) -> Published:
    """Two shards of 24 MB: many chunks."""
    folder = make_checkpoint(workspace / "large", shards=2, elements=12_000_000, seed="large")
    ref = f"{embedded}/acme/large:v1"
    built = modelcar("build", folder, "-t", ref)
    modelcar("push", ref)
    return Published(folder=folder, ref=ref, digest=built["digest"])
