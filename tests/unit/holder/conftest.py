"""The holder is tested as others use it: a program, a model folder and a folder to publish into."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.holder import Architecture, holder_bytes

from .harness import Holder, write_model

MACHINES: dict[str, Architecture] = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    architecture = MACHINES.get(platform.machine())
    if platform.system() != "Linux" or architecture is None:
        pytest.skip("the holder is a Linux program for amd64 and arm64")
    program = tmp_path / "holder"
    program.write_bytes(holder_bytes(architecture))
    program.chmod(0o755)
    fixture = Holder(program, write_model(tmp_path / "models"))
    yield fixture
    fixture.stop_all()


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """The emptyDir."""
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder
