from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelcar.store.memory import MemoryStore
from registry_shim.distribution import Settings
from registry_shim.distribution.context import Context
from registry_shim.distribution.repositories import Repositories
from registry_shim.distribution.sessions import Sessions

from .api import Api


@pytest.fixture
def make_api(tmp_path: Path) -> Callable[..., Api]:
    """An API over one store and folder with the settings that are given."""
    store = MemoryStore()

    def make(**settings: bool) -> Api:
        repositories = Repositories(tmp_path / "repositories")
        return Api(Context(store, repositories, Sessions(store), Settings(**{"writable": True, **settings})))

    return make


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    return make_api()
