"""Prometheus metrics: what parts tell is counted, what they show is looked at when somebody scrapes."""

from __future__ import annotations

import logging
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from modelcar import __version__
from modelcar.cache.lease import Purpose
from modelcar.errors import ModelcarError
from modelcar.lazy.sources import Outcome, SourceKind
from modelcar.mounts.figures import MountFigures
from modelcar.serving.exchange import Exchange
from modelcar.serving.messages import Request
from registry_shim.gate.ruling import Ruling
from registry_shim.gate.verdicts import NodeVerdict
from registry_shim.operations.catalogue import METRICS, PREFIX, Metric
from registry_shim.operations.routes import ROUTES, route_of
from registry_shim.operations.sights import Sights

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SHOWN: Final = {metric.name: metric for metric in METRICS if metric.is_shown}
_CACHE_WORDS: Final = frozenset({"hit", "miss", "stale"})
_MOST_MOUNTS: Final = 100
_OTHERS: Final = ("others", "", "")
_STARTING: Final = "starting"
_Family = CounterMetricFamily | GaugeMetricFamily
_log = logging.getLogger("registry_shim")


class Metrics:
    """All metrics of one node, in a registry of their own. Each part is given the member that counts for it."""

    def __init__(self, *, fetched: Callable[[SourceKind, Outcome, float], None] = lambda *_: None) -> None:
        """`fetched` is told of every request for a range, too."""
        self._registry = CollectorRegistry()
        counted = {metric.name: self._made(metric) for metric in METRICS if not metric.is_shown}
        self.http = _Http(counted)
        """A `serving.exchange.Observer`."""
        self.fetching = _Fetching(counted, fetched)
        """A `modelcar.lazy.events.FetchEvents`."""
        self.cache = _Cache(counted)
        """A `modelcar.cache.events.CacheEvents`."""
        self.space = _Space(counted)
        """A `registry_shim.space.content.Observer`."""
        self.gate = _Gate(counted)
        """A `registry_shim.gate.events.GateEvents`."""
        self._sights = _Shown()
        self._registry.register(self._sights)
        ProcessCollector(registry=self._registry)
        info = Gauge(f"{PREFIX}info", _SHOWN["info"].help, ("version",), registry=self._registry)
        info.labels(__version__).set(1)

    def look_at(self, sights: Sights) -> None:
        """Where gauges look from now on."""
        self._sights.sights = sights

    def exposition(self) -> bytes:
        """The text format of Prometheus. Waits for the disk: call it in a thread."""
        return generate_latest(self._registry)

    def totals(self) -> dict[str, float]:
        """Bytes since the start: by where they came from, and `sent` to clients."""
        sums = {kind.value: self._sum("fetched_bytes_total", source=kind.value) for kind in SourceKind}
        return {**sums, "sent": sum(self._sum("http_sent_bytes_total", route=route) for route in ROUTES)}

    def _sum(self, name: str, **labels: str) -> float:
        return self._registry.get_sample_value(PREFIX + name, labels) or 0.0

    def _made(self, metric: Metric) -> Any:
        name = PREFIX + metric.name
        if metric.kind == "histogram":
            return Histogram(name, metric.help, metric.labels, buckets=metric.buckets, registry=self._registry)
        return Counter(name, metric.help, metric.labels, registry=self._registry)


class _Http:
    def __init__(self, metrics: Mapping[str, Any]) -> None:
        self._requests, self._answers = metrics["http_requests_total"], metrics["answers_total"]
        self._seconds = {route: metrics["http_request_seconds"].labels(route) for route in ROUTES}
        self._sent = {route: metrics["http_sent_bytes_total"].labels(route) for route in ROUTES}
        self._broken = {route: metrics["http_broken_total"].labels(route) for route in ROUTES}

    def begun(self, request: Request) -> None:
        pass

    def finished(self, exchange: Exchange) -> None:
        route = route_of(exchange.request.path)
        self._requests.labels(route, str(exchange.status)).inc()
        self._seconds[route].observe(exchange.seconds)
        if exchange.sent:
            self._sent[route].inc(exchange.sent)
        if not exchange.complete:
            self._broken[route].inc()
        word = exchange.response.notes.get("cache") if exchange.response is not None else None
        if word in _CACHE_WORDS:
            self._answers.labels(route, word).inc()


class _Fetching:
    def __init__(self, metrics: Mapping[str, Any], fetched: Callable[[SourceKind, Outcome, float], None]) -> None:
        self._fetched = fetched
        self._fetches = metrics["fetches_total"]
        self._bytes = {kind: metrics["fetched_bytes_total"].labels(kind.value) for kind in SourceKind}
        self._seconds = {kind: metrics["chunk_seconds"].labels(kind.value) for kind in SourceKind}
        self._hedges = {kind: metrics["hedges_total"].labels(kind.value) for kind in SourceKind}

    def received(self, kind: SourceKind, size: int, seconds: float) -> None:
        self._bytes[kind].inc(size)
        self._seconds[kind].observe(seconds)

    def ended(self, kind: SourceKind, outcome: Outcome, seconds: float) -> None:
        self._fetches.labels(kind.value, outcome.value).inc()
        self._fetched(kind, outcome, seconds)

    def hedged(self, kind: SourceKind) -> None:
        self._hedges[kind].inc()


class _Cache:
    def __init__(self, metrics: Mapping[str, Any]) -> None:
        self._leases = metrics["leases_total"]
        self._blobs, self._bytes = metrics["committed_blobs_total"], metrics["committed_bytes_total"]
        self._wrong, self._scrubbed = metrics["wrong_blobs_total"], metrics["scrubbed_bytes_total"]
        self._quarantined = metrics["quarantined_blobs_total"]

    def leased(self, purpose: Purpose, *, whole: bool) -> None:
        self._leases.labels(purpose.name.lower(), "hit" if whole else "miss").inc()

    def committed(self, size: int) -> None:
        self._blobs.inc()
        self._bytes.inc(size)

    def refused(self) -> None:
        self._wrong.inc()

    def scrubbed(self, size: int) -> None:
        self._scrubbed.inc(size)

    def quarantined(self, size: int) -> None:  # noqa: ARG002  # the protocol's
        self._quarantined.inc()


class _Space:
    def __init__(self, metrics: Mapping[str, Any]) -> None:
        self._count, self._bytes = metrics["evicted_total"], metrics["evicted_bytes_total"]
        self._no_room = metrics["no_room_total"]

    def evicted(self, size: int) -> None:
        self._count.inc()
        self._bytes.inc(size)

    def refused(self, size: int) -> None:  # noqa: ARG002  # the protocol's
        self._no_room.inc()


class _Gate:
    def __init__(self, metrics: Mapping[str, Any]) -> None:
        self._rulings, self._refusals = metrics["rulings_total"], metrics["refusals_total"]
        self._scans, self._revocations = metrics["scans_total"], metrics["revocations_total"]
        self._reloads = metrics["policy_reloads_total"]

    def ruled(self, ruling: Ruling) -> None:
        self._rulings.labels(str(ruling.state)).inc()

    def refused(self, kind: str) -> None:
        self._refusals.labels(kind).inc()

    def scanned(self, verdict: NodeVerdict) -> None:
        self._scans.labels(str(verdict.outcome)).inc()

    def scan_failed(self) -> None:
        self._scans.labels("failed").inc()

    def revoked(self, ruling: Ruling, blobs: int) -> None:  # noqa: ARG002  # the protocol's
        self._revocations.inc()

    def reloaded(self, *, succeeded: bool) -> None:
        self._reloads.labels("succeeded" if succeeded else "failed").inc()


class _Shown(Collector):
    """Gauges, made when they are asked for."""

    def __init__(self) -> None:
        self.sights = Sights()

    def describe(self) -> Iterable[_Family]:
        return [_family(name) for name in _SHOWN if name != "info"]

    def collect(self) -> Iterator[_Family]:
        yield _value("http_connections", self.sights.connections())
        yield _value("http_requests_running", self.sights.requests())
        for part in (self._blobs, self._space, self._gate, self._peers, self._precache, self._mounts):
            try:
                yield from part()
            except (ModelcarError, OSError) as e:  # the disk, say: the other gauges are needed all the more
                _log.error("some metrics are missing: %s", e)

    def _blobs(self) -> Iterator[_Family]:
        yield _tally("transfers", (str(blob.state) for blob in self.sights.blobs()))

    def _space(self) -> Iterator[_Family]:
        status = self.sights.space()
        if status is None:
            return
        yield _value("cache_used_bytes", status.taken)
        yield _value("cache_coming_bytes", status.coming)
        yield _value("cache_evictable_bytes", status.evictable)
        yield _value("cache_capacity_bytes", status.capacity)
        yield _value("capacity_used_rate", status.used_rate)
        yield _value("disk_free_bytes", status.disk.free)
        yield _tally("images", ("whole" if image.whole else "partial" for image in status.images))

    def _gate(self) -> Iterator[_Family]:
        yield _tally("verdicts", (str(image["state"]) for image in self.sights.gate().get("images", ())))

    def _peers(self) -> Iterator[_Family]:
        yield _tally("peers", (str(state) for state in self.sights.peers().values()))

    def _precache(self) -> Iterator[_Family]:
        images = self.sights.precache().get("images", ())
        yield _tally("precache_images", (str(image["phase"]) for image in images))
        done = sum(image["progress"]["done"] for image in images)
        total = sum(image["progress"]["total"] for image in images)
        sizes = _family("precache_bytes")
        sizes.add_metric(["total"], total)
        sizes.add_metric(["here"], done)
        yield sizes

    def _mounts(self) -> Iterator[_Family]:
        found = self.sights.mounts()
        yield _tally("mounts", (mount.record.front or _STARTING for mount in found))
        names = "mount_bytes", "mount_waiting", "mount_lost_blobs", "mount_answers_total"
        sizes, waiting, lost, answers = map(_family, names)
        for labels, mounts in _by_labels(found).items():
            sizes.add_metric([*labels, "total"], sum(mount.size for mount in mounts))
            sizes.add_metric([*labels, "here"], sum(mount.present for mount in mounts))
            waiting.add_metric(labels, sum(mount.waiting for mount in mounts))
            lost.add_metric(labels, sum(mount.lost for mount in mounts))
            answers.add_metric([*labels, "done"], sum(mount.answered for mount in mounts))
            answers.add_metric([*labels, "failed"], sum(mount.failed for mount in mounts))
        yield from (sizes, waiting, lost, answers)


def _by_labels(mounts: Sequence[MountFigures]) -> dict[tuple[str, str, str], list[MountFigures]]:
    """Each for itself, as long as they are not too many for those who store metrics."""
    found: dict[tuple[str, str, str], list[MountFigures]] = {}
    for number, mount in enumerate(mounts):
        record = mount.record
        labels = record.id, record.origin.name, record.front or _STARTING
        found.setdefault(labels if number < _MOST_MOUNTS else _OTHERS, []).append(mount)
    return found


def _family(name: str) -> _Family:
    metric = _SHOWN[name]
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(PREFIX + name, metric.help, labels=metric.labels)


def _value(name: str, value: float) -> _Family:
    family = _family(name)
    family.add_metric([], value)
    return family


def _tally(name: str, words: Iterable[str]) -> _Family:
    family = _family(name)
    for word, count in sorted(Tally(words).items()):
        family.add_metric([word], count)
    return family
