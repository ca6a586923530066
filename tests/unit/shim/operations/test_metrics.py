"""Metrics: what a scrape shows after parts have told, and while one of them cannot."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from modelcar.cache.lease import Purpose
from modelcar.cache.status import BlobState, BlobStatus
from modelcar.disk import Disk
from modelcar.errors import StorageError
from modelcar.lazy.sources import Outcome, SourceKind
from modelcar.oci import Digest
from modelcar.serving.exchange import Exchange
from modelcar.serving.messages import Request, Response
from registry_shim.operations.catalogue import METRICS, PREFIX, reference_page
from registry_shim.operations.metrics import Metrics
from registry_shim.operations.routes import ROUTES, route_of
from registry_shim.operations.sights import Sights
from registry_shim.peers.health import State
from registry_shim.peers.members import Member
from registry_shim.space.status import SpaceStatus

BLOB = BlobStatus(digest=Digest.of(b""), grid="plain", size=9, present=3, state=BlobState.ARRIVING, leases=1)
SPACE = SpaceStatus(
    disk=Disk(total=1000, free=300), taken=600, coming=50, evictable=100, budget=1300, loose=0, images=()
)


def scraped(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name (without the prefix) and labels."""
    text = metrics.exposition().decode()
    return {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def exchange(path: str, status: int | None = 200, *, sent: int = 0, complete: bool = True, **notes: str) -> Exchange:
    response = Response(status=status, notes=notes) if status is not None else None
    request = Request(method="GET", path=path)
    return Exchange(request=request, response=response, sent=sent, seconds=0.02, complete=complete)


def test_requests() -> None:
    metrics = Metrics()
    metrics.http.finished(exchange("/v2/a/b/manifests/v1", cache="hit", sent=10))
    metrics.http.finished(exchange("/v2/a/b/manifests/v1", cache="stale", sent=10))
    metrics.http.finished(exchange("/v2/a/b/blobs/sha256:00", sent=1000, complete=False))
    metrics.http.finished(exchange("/v2/a/b/blobs/sha256:00", None, complete=False))
    metrics.http.finished(exchange("/v2/a/b/manifests/v1", cache="made up\n"))
    seen = scraped(metrics)
    assert seen["http_requests_total", (("code", "200"), ("route", "manifest"))] == 3
    assert seen["http_requests_total", (("code", "499"), ("route", "blob"))] == 1
    assert seen["http_sent_bytes_total", (("route", "manifest"),)] == 20
    assert seen["http_broken_total", (("route", "blob"),)] == 2
    assert seen["answers_total", (("cache", "stale"), ("route", "manifest"))] == 1
    assert sum(value for (name, _), value in seen.items() if name == "answers_total") == 2
    assert seen["http_request_seconds_bucket", (("le", "0.05"), ("route", "blob"))] == 2
    assert seen["http_request_seconds_bucket", (("le", "0.01"), ("route", "blob"))] == 0


def test_what_parts_tell() -> None:
    metrics = Metrics()
    metrics.fetching.received(SourceKind.PEER, 400, 0.3)
    metrics.fetching.received(SourceKind.UPSTREAM, 100, 0.3)
    metrics.fetching.ended(SourceKind.PEER, Outcome.WRONG, 1.0)
    metrics.fetching.hedged(SourceKind.UPSTREAM)
    metrics.cache.leased(Purpose.PULL, whole=True)
    metrics.cache.committed(7)
    metrics.cache.refused()
    metrics.cache.scrubbed(8)
    metrics.cache.quarantined(9)
    metrics.space.evicted(5)
    metrics.space.refused(6)
    metrics.gate.ruled(cast("Any", SimpleNamespace(state="refused")))
    metrics.gate.scanned(cast("Any", SimpleNamespace(outcome="clean")))
    metrics.gate.scan_failed()
    metrics.gate.refused("blob")
    metrics.gate.revoked(cast("Any", None), 3)
    metrics.gate.reloaded(succeeded=False)
    seen = scraped(metrics)
    assert seen["fetched_bytes_total", (("source", "peer"),)] == 400
    assert seen["fetched_bytes_total", (("source", "upstream"),)] == 100
    assert seen["fetched_bytes_total", (("source", "mirror"),)] == 0
    assert seen["fetches_total", (("outcome", "wrong"), ("source", "peer"))] == 1
    assert seen["hedges_total", (("source", "upstream"),)] == 1
    assert seen["leases_total", (("outcome", "hit"), ("purpose", "pull"))] == 1
    assert seen["committed_bytes_total", ()] == 7
    assert seen["wrong_blobs_total", ()] == 1
    assert seen["scrubbed_bytes_total", ()] == 8
    assert seen["quarantined_blobs_total", ()] == 1
    assert seen["evicted_bytes_total", ()] == 5
    assert seen["no_room_total", ()] == 1
    assert seen["rulings_total", (("state", "refused"),)] == 1
    assert seen["scans_total", (("outcome", "failed"),)] == 1
    assert seen["refusals_total", (("kind", "blob"),)] == 1
    assert seen["revocations_total", ()] == 1
    assert seen["policy_reloads_total", (("result", "failed"),)] == 1
    assert seen["process_open_fds", ()] > 0


def test_what_parts_show() -> None:
    metrics = Metrics()
    metrics.look_at(
        Sights(
            connections=lambda: 4,
            requests=lambda: 2,
            blobs=lambda: [BLOB, BLOB],
            space=lambda: SPACE,
            gate=lambda: {"images": [{"state": "allowed"}, {"state": "refused"}, {"state": "allowed"}]},
            peers=lambda: {Member("a", 1): State.LIVE, Member("b", 1): State.DEAD},
            precache=lambda: {"images": [{"phase": "fetching", "progress": {"done": 3, "total": 10}}]},
        )
    )
    seen = scraped(metrics)
    assert seen["http_connections", ()] == 4
    assert seen["http_requests_running", ()] == 2
    assert seen["transfers", (("state", "arriving"),)] == 2
    assert seen["capacity_used_rate", ()] == pytest.approx(0.5)
    assert seen["cache_capacity_bytes", ()] == 1300
    assert seen["verdicts", (("state", "allowed"),)] == 2
    assert seen["peers", (("state", "dead"),)] == 1
    assert seen["precache_bytes", (("which", "here"),)] == 3


def test_a_part_that_cannot_be_looked_at_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> SpaceStatus:
        raise StorageError("cannot read /x: Input/output error")

    metrics = Metrics()
    metrics.look_at(Sights(space=broken, peers=lambda: {Member("a", 1): State.LIVE}))
    seen = scraped(metrics)
    assert seen["peers", (("state", "live"),)] == 1
    assert not any(name == "cache_used_bytes" for name, _ in seen)
    assert "some metrics are missing: cannot read /x" in caplog.text


def test_every_metric_is_there_and_documented() -> None:
    families = {f.name for f in text_string_to_metric_families(Metrics().exposition().decode())}
    page = reference_page()
    for metric in METRICS:
        name = PREFIX + metric.name
        assert f"| `{name}` |" in page
        if metric.kind == "counter":
            assert name.endswith("_total")
            assert name.removesuffix("_total") in families
        elif metric.kind == "histogram":
            assert name in families


def test_two_nodes_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.cache.committed(5)
    assert scraped(other)["committed_bytes_total", ()] == 0


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2", "base"),
        ("/v2/", "base"),
        ("/v2/a/b/manifests/latest", "manifest"),
        ("/v2/a/b/blobs/sha256:00", "blob"),
        ("/v2/a/b/blobs/uploads/", "upload"),
        ("/v2/a/b/blobs/uploads/17", "upload"),
        ("/v2/a/tags/list", "tags"),
        ("/v2/a/referrers/sha256:00", "referrers"),
        ("/healthz", "operations"),
        ("/ui/data.json", "operations"),
        ("/wp-admin", "other"),
        ("/v2/a/b", "other"),
    ],
)
def test_few_kinds_of_paths(path: str, route: str) -> None:
    assert route_of(path) == route
    assert route in ROUTES
