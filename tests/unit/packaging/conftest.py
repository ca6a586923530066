"""A small checkpoint, a store, and an image of the one in the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.packaging.base import DEFAULT_PLATFORMS, Base, holder_base
from modelcar.packaging.build import BuiltImage, build_image
from modelcar.store import LocalStore
from tests.support.checkpoints import make_checkpoint

Build = Callable[..., BuiltImage]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "checkpoint")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "home")


@pytest.fixture
def build(store: LocalStore) -> Build:
    """Build a folder into `store` under the name `test`."""

    def build(folder: Path, bases: list[Base] | None = None, **options: int | bool) -> BuiltImage:
        bases = bases if bases is not None else [holder_base(p) for p in DEFAULT_PLATFORMS]
        with store.session():
            image = build_image(open_checkpoint(str(folder)), store, bases, **options)  # type: ignore[arg-type]  # settings by their names
            store.names.put("test", image.index)
        return image

    return build
