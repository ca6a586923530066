"""Upstreams that come, go and change while the mirror runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from modelcar.cache.lease import Lease, Purpose
from modelcar.cache.origin import Origin
from modelcar.oci import Descriptor, Digest
from modelcar.serving.messages import Request, Response
from modelcar.store.memory import MemoryStore
from registry_shim.mirror.facts import Facts
from registry_shim.mirror.mirror import Library, Mirror
from registry_shim.mirror.settings import Access, MirrorSettings, UpstreamSettings
from registry_shim.mirror.upstreams import Upstreams
from tests.support.scripted_registry import ScriptedRegistry

from .conftest import REPO, publish

pytestmark = pytest.mark.slow


class NoLeases:
    """A cache that nobody asks."""

    def lease(self, origin: Origin, descriptor: Descriptor, *, grid: object = None, purpose: object = None) -> Lease:
        raise AssertionError(f"{origin} {descriptor} {grid} {Purpose}")


def settings(*upstreams: UpstreamSettings) -> MirrorSettings:
    return MirrorSettings(upstreams=upstreams, attachments=False)


def ask(mirror: Mirror, registry: str, reference: str = "v1") -> Response:
    request = Request(method="GET", path=f"/v2/{REPO}/manifests/{reference}", query={"ns": [registry]})
    response = asyncio.run(mirror.handle(request))
    assert response is not None
    return response


@pytest.fixture
def first(upstream: ScriptedRegistry) -> UpstreamSettings:
    publish(upstream)
    return UpstreamSettings(registry="first.example", urls=(upstream.url,), timeout=5.0)


def test_upstreams_come_and_go(
    first: UpstreamSettings, upstream: ScriptedRegistry, other: ScriptedRegistry, tmp_path: Path
) -> None:
    image = publish(other, seed=2)
    second = UpstreamSettings(registry="second.example", urls=(other.url,), timeout=5.0)
    upstreams = Upstreams(settings(first))
    library = Library.build(Facts(tmp_path, MemoryStore()), NoLeases(), upstreams, settings(first))
    mirror = Mirror(settings(first), upstreams, library, NoLeases())
    try:
        assert [ask(mirror, name).status for name in ("first.example", "second.example")] == [200, 403]
        kept = upstreams["first.example"]
        mirror.reload(settings(first, second))
        assert [ask(mirror, name).status for name in ("first.example", "second.example")] == [200, 200]
        assert upstreams["first.example"] is kept
        mirror.reload(settings(second))
        assert [ask(mirror, name).status for name in ("first.example", "second.example")] == [403, 200]
        closed = UpstreamSettings(
            registry="second.example", urls=(upstream.url,), access=Access.OWN, repositories=("org/listed",)
        )
        mirror.reload(settings(closed))
        assert ask(mirror, "second.example").status == 403
        mirror.reload(settings(UpstreamSettings(registry="second.example", urls=(upstream.url,))))
        assert ask(mirror, "second.example", str(image.root.digest)).status == 200  # it is known to be there
        assert ask(mirror, "second.example", str(Digest.of(b"unknown"))).status == 404
    finally:
        asyncio.run(mirror.close())
        upstreams.close()
