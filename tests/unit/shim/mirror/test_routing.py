"""Which upstream a request is for, and that nothing else can be named."""

from __future__ import annotations

import pytest

from modelcar.serving.messages import Request
from registry_shim.distribution.errors import DistributionError
from registry_shim.mirror.routing import Kind, Route, Routes
from registry_shim.mirror.settings import MirrorSettings, UpstreamSettings

DIGEST = f"sha256:{'a' * 64}"
SETTINGS = MirrorSettings(
    upstreams=tuple(
        UpstreamSettings(registry=name) for name in ("ghcr.io", "docker.io", "registry.example:5000", "[::1]:5000")
    )
)


def find(
    path: str,
    *,
    ns: str | list[str] | None = None,
    host: str = "127.0.0.1:5001",
    method: str = "GET",
    default: str = "",
) -> Route | None:
    settings = MirrorSettings(upstreams=SETTINGS.upstreams, default_registry=default or None)
    query = {} if ns is None else {"ns": [ns] if isinstance(ns, str) else ns}
    return Routes(settings).find(Request(method=method, path=path, query=query, headers={"host": host}))


@pytest.mark.parametrize(
    ("path", "options", "registry", "repository"),
    [
        ("/v2/org/model/manifests/v1", {"ns": "ghcr.io"}, "ghcr.io", "org/model"),
        ("/v2/ghcr.io/org/model/manifests/v1", {}, "ghcr.io", "org/model"),
        ("/v2/org/model/manifests/v1", {"host": "ghcr.io.shim.local:5001"}, "ghcr.io", "org/model"),
        ("/v2/org/model/manifests/v1", {"host": "GHCR.IO.shim.local"}, "ghcr.io", "org/model"),
        ("/v2/docker.io/library/x/manifests/v1", {}, "docker.io", "library/x"),
        ("/v2/docker.io/x/manifests/v1", {}, "docker.io", "library/x"),
        ("/v2/x/manifests/v1", {"ns": "docker.io"}, "docker.io", "library/x"),
        ("/v2/registry.example:5000/a/manifests/v1", {}, "registry.example:5000", "a"),
        ("/v2/registry.example-5000/a/manifests/v1", {}, "registry.example:5000", "a"),
        ("/v2/a/manifests/v1", {"host": "registry.example-5000.shim.local"}, "registry.example:5000", "a"),
        ("/v2/a/manifests/v1", {"ns": "[::1]:5000"}, "[::1]:5000", "a"),
        ("/v2/ghcr.io/a/manifests/v1", {"ns": "docker.io"}, "docker.io", "ghcr.io/a"),
        ("/v2/org/model/manifests/v1", {"default": "docker.io"}, "docker.io", "org/model"),
        ("/v2/ghcr.io/org/model/manifests/v1", {"default": "docker.io"}, "ghcr.io", "org/model"),
    ],
)
def test_three_ways_to_name_a_registry(path: str, options: dict[str, str], registry: str, repository: str) -> None:
    route = find(path, **options)
    assert route is not None
    assert (route.registry, route.repository, route.rest) == (registry, repository, "v1")
    assert route.named == ("ns" in options)


@pytest.mark.parametrize(
    ("path", "kind", "rest"),
    [
        ("/v2/ghcr.io/a/blobs/tags/list", Kind.TAGS, ""),
        (f"/v2/ghcr.io/a/blobs/{DIGEST}", Kind.BLOB, DIGEST),
        (f"/v2/ghcr.io/a/referrers/{DIGEST}", Kind.REFERRERS, DIGEST),
        (f"/v2/ghcr.io/a/manifests/{DIGEST}", Kind.MANIFEST, DIGEST),
    ],
)
def test_the_endpoints(path: str, kind: Kind, rest: str) -> None:
    route = find(path)
    assert route is not None
    assert (route.kind, route.rest) == (kind, rest)


def test_the_front_door_of_an_upstream() -> None:
    for path in ("/v2/", "/v2"):
        assert find(path, ns="ghcr.io") == Route(kind=Kind.BASE, registry="ghcr.io", named=True)
        assert find(path, host="ghcr.io.shim.local") == Route(kind=Kind.BASE, registry="ghcr.io")
        assert find(path) is None


@pytest.mark.parametrize(
    "path",
    ["/v2/", "/v2/org/model/manifests/v1", "/v2/_catalog", "/", "/metrics", "/v2/evil.example/org/model/manifests/v1"],
)
def test_what_is_for_our_own_repositories(path: str) -> None:
    assert find(path) is None


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/v2/org/model/manifests/v1", {"ns": "evil.example"}),
        ("/v2/org/model/manifests/v1", {"ns": "169.254.169.254"}),
        ("/v2/org/model/manifests/v1", {"ns": "http://ghcr.io"}),
        ("/v2/org/model/manifests/v1", {"ns": "ghcr.io@evil.example"}),
        ("/v2/org/model/manifests/v1", {"ns": "ghcr.io/../evil"}),
        ("/v2/org/model/manifests/v1", {"ns": ["ghcr.io", "docker.io"]}),
        ("/v2/org/model/manifests/v1", {"host": "evil.example.shim.local"}),
        ("/v2/org/model/manifests/v1", {"ns": "x\r\nSet-Cookie: a=b"}),
    ],
)
def test_no_other_registry_can_be_named(path: str, options: dict[str, str]) -> None:
    with pytest.raises(DistributionError, match="is not an upstream") as refused:
        find(path, **options)
    assert (refused.value.code, refused.value.status) == ("DENIED", 403)
    assert "\n" not in str(refused.value)


def test_a_registry_without_upstreams_ignores_what_proxies_pass_on() -> None:
    request = Request(method="GET", path="/v2/org/model/manifests/v1", query={"ns": ["10.0.0.1"]})
    assert Routes(MirrorSettings()).find(request) is None


@pytest.mark.parametrize(
    "path",
    [
        "/v2/ghcr.io/manifests/v1",
        "/v2/ghcr.io/../../etc/manifests/v1",
        "/v2/ghcr.io/a/../b/manifests/v1",
        "/v2/ghcr.io//a/manifests/v1",
        "/v2/ghcr.io/A/manifests/v1",
        "/v2/ghcr.io/_manifests/sha256/manifests/v1",
        "/v2/ghcr.io/a\0b/manifests/v1",
        f"/v2/ghcr.io/{'a' * 250}/manifests/v1",
        "/v2/ghcr.io/a b/tags/list",
        "/v2/ghcr.io/.hidden/tags/list",
    ],
)
def test_names_that_are_none(path: str) -> None:
    with pytest.raises(DistributionError) as refused:
        find(path)
    assert refused.value.code in ("NAME_INVALID", "UNSUPPORTED")
    assert refused.value.status in (400, 404)


@pytest.mark.parametrize("path", ["/v2/ghcr.io/a/blobs/uploads/", "/v2/ghcr.io/a/manifests/v1", "/v2/"])
@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
def test_a_mirror_changes_nothing(path: str, method: str) -> None:
    with pytest.raises(DistributionError, match="a mirror takes no pushes") as refused:
        find(path, ns="ghcr.io", method=method)
    assert refused.value.status == 405
    assert refused.value.headers == {"Allow": "GET, HEAD"}


def test_endless_paths() -> None:
    with pytest.raises(DistributionError, match="no such endpoint"):
        find("/v2/ghcr.io/" + "a/" * 5000 + "manifests/v1")
