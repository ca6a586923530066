"""Whatever a request says, it reaches a configured upstream under a proper name, our own repositories, or a refusal."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from modelcar.oci.reference import is_repository
from modelcar.serving.messages import Request
from registry_shim.distribution.errors import DistributionError
from registry_shim.mirror.routing import Kind, Routes
from registry_shim.mirror.settings import MirrorSettings, UpstreamSettings

NAMES = ("ghcr.io", "docker.io", "registry.example:5000")
SETTINGS = MirrorSettings(upstreams=tuple(UpstreamSettings(registry=name) for name in NAMES))
PIECES = ("", ".", "..", "ghcr.io", "docker.io", "registry.example-5000", "org", "model", "tags", "list", "blobs")
ODD = (
    "_manifests",
    "%2e%2e",
    "a\0b",
    "a b",
    "\\",
    "//",
    "Ä",
    "evil.example",
    "manifests",
    "referrers",
    "v1",
    "uploads",
)
names = st.one_of(
    st.sampled_from([*NAMES, "evil.example", "ghcr.io.", "ghcr.io/..", "GHCR.IO", "x@ghcr.io"]), st.text(max_size=20)
)
paths = st.one_of(
    st.lists(st.sampled_from([*PIECES, *ODD]), max_size=9).map(lambda parts: "/v2/" + "/".join(parts)), st.text()
)
hosts = st.one_of(names.map(lambda name: f"{name}.shim.local:5001"), st.just("127.0.0.1:5001"), st.text(max_size=30))


@given(
    path=paths,
    ns=st.lists(names, max_size=2),
    host=hosts,
    method=st.sampled_from(["GET", "HEAD", "PUT", "DELETE"]),
    default=st.sampled_from([None, "docker.io"]),
)
def test_nothing_else_is_reached(path: str, ns: list[str], host: str, method: str, default: str | None) -> None:
    routes = Routes(MirrorSettings(upstreams=SETTINGS.upstreams, default_registry=default))
    request = Request(method=method, path=path, query={"ns": ns} if ns else {}, headers={"host": host})
    with suppress(DistributionError):
        route = routes.find(request)
        if route is None:
            assert not any(name.lower() in NAMES for name in ns)
            return
        assert route.registry in NAMES
        assert method in ("GET", "HEAD")
        assert route.kind is Kind.BASE or is_repository(route.repository)
        assert "/" not in route.rest
