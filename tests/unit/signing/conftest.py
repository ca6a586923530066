"""The same image in every kind of place: an OCI layout, a registry with a referrers API, and one without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.oci import Descriptor, Reference
from modelcar.registry import ClientSettings, Registry
from modelcar.signing.places import LayoutPlace, RegistryPlace
from modelcar.store import OciLayout
from registry_shim.testing import running_registry
from tests.support.images import put_image, random_image
from tests.support.logins import without_logins
from tests.support.scripted_registry import ScriptedRegistry
from tests.support.signing import REPOSITORY

IMAGE = random_image(7)
AnyPlace = LayoutPlace | RegistryPlace


@pytest.fixture(autouse=True)
def _no_logins(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nobody's own logins or proxies take part in a test."""
    without_logins(monkeypatch, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def embedded() -> Iterator[str]:
    with running_registry() as address:
        yield address


@pytest.fixture
def server() -> Iterator[ScriptedRegistry]:
    """A registry without a referrers API that does what a test tells it to."""
    with ScriptedRegistry() as registry:
        yield registry


@pytest.fixture
def client() -> Iterator[Registry]:
    with Registry(ClientSettings(timeout=5, attempts=1)) as registry:
        yield registry


@pytest.fixture(params=["layout", "embedded", "fallback"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, client: Registry, embedded: str, server: ScriptedRegistry
) -> AnyPlace:
    """Each kind of place, with `IMAGE` in it."""
    return make_place(request.param, tmp_path, client, embedded, server)


def make_place(kind: str, folder: Path, client: Registry, embedded: str, server: ScriptedRegistry) -> AnyPlace:
    layout = OciLayout(folder / f"layout-{kind}")
    root = put_image(layout, IMAGE)
    if kind == "layout":
        return LayoutPlace(layout, REPOSITORY)
    host = embedded if kind == "embedded" else server.name
    name = "".join(c for c in folder.name.lower() if c.isalnum())
    ref = Reference.parse(f"{host}/test/{name}:v1")
    client.push(layout, root, ref)
    return RegistryPlace(client, ref)


@pytest.fixture
def root() -> Descriptor:
    return IMAGE.root
