"""A mirror in this process in front of scripted registries, and a client that says what it got."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelcar.oci import Descriptor, Index, Manifest
from modelcar.oci.media_types import INDEX
from modelcar.registry.session import Session
from registry_shim.mirror.settings import MirrorSettings, UpstreamSettings
from registry_shim.testing import running_mirror
from tests.support import images
from tests.support.logins import without_logins
from tests.support.scripted_registry import ScriptedRegistry
from tests.unit.shim.api import Answer

HOST = "registry.example"
REPO = "org/model"


@pytest.fixture(autouse=True)
def _no_logins(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nobody's own logins or proxies take part in a test, and an upstream that is away is asked again at once."""
    monkeypatch.setattr(Session, "pause", lambda *_: None)
    without_logins(monkeypatch, tmp_path_factory.mktemp("home"))


@dataclass(frozen=True)
class Client:
    """Talks to a mirror as containerd does."""

    address: str
    namespace: str | None = HOST

    def get(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """`path` is what stands behind `/v2/`."""
        connection = http.client.HTTPConnection(self.address, timeout=20)
        try:
            mark = f"{'&' if '?' in path else '?'}ns={self.namespace}" if self.namespace else ""
            connection.request(
                method, f"/v2/{path}{mark}", headers={name.replace("_", "-"): value for name, value in headers.items()}
            )
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def head(self, path: str, **headers: str) -> Answer:
        return self.get(path, method="HEAD", **headers)

    def manifest(self, reference: object, repository: str = REPO, **headers: str) -> Answer:
        return self.get(f"{repository}/manifests/{reference}", **headers)

    def blob(self, digest: object, repository: str = REPO, **headers: str) -> Answer:
        return self.get(f"{repository}/blobs/{digest}", **headers)


@pytest.fixture
def upstream() -> Iterator[ScriptedRegistry]:
    with ScriptedRegistry() as registry:
        yield registry


@pytest.fixture
def other() -> Iterator[ScriptedRegistry]:
    """A second upstream, a mirror of the first, a token server."""
    with ScriptedRegistry() as registry:
        yield registry


MakeMirror = Callable[..., Client]


@pytest.fixture
def mirror(upstream: ScriptedRegistry, tmp_path: Path) -> Iterator[MakeMirror]:
    """Starts a mirror of `registry.example`; `settings` are those of it, `options` those of all."""
    with ExitStack() as stack:

        def make(
            settings: dict[str, Any] | None = None, others: tuple[UpstreamSettings, ...] = (), **options: Any
        ) -> Client:
            mine = UpstreamSettings(**{"registry": HOST, "urls": (upstream.url,), "timeout": 5.0, **(settings or {})})
            chosen = MirrorSettings(upstreams=(mine, *others), **{"attachments": False, **options})
            return Client(stack.enter_context(running_mirror(chosen, tmp_path / "root")))

        yield make


def publish(registry: ScriptedRegistry, tag: str = "v1", *, seed: int = 1, repo: str = REPO) -> images.RandomImage:
    """A random image for two platforms in `registry`."""
    image = images.random_image(seed, sizes=(10, 100_000, 300_000), platforms=2)
    for descriptor, content in image.blobs.items():
        registry.blobs[str(descriptor)] = content
    for config in image.documents.configs:
        registry.blobs[str(config.digest)] = config.content
    for manifest in image.documents.manifests:
        put(registry, manifest, repo=repo)
    put(registry, image.documents.index, repo=repo)
    put(registry, image.documents.index, tag, repo=repo)
    return image


def put(registry: ScriptedRegistry, document: Manifest | Index, tag: str | None = None, *, repo: str = REPO) -> None:
    registry.manifests[repo, tag or str(document.digest)] = (document.media_type, document.content)


def referrers_of(answer: Answer) -> list[Descriptor]:
    assert answer.headers["content-type"] == INDEX
    return [Descriptor.from_dict(entry) for entry in answer.json["manifests"]]
