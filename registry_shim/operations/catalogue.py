"""Every metric of the shim: its name, labels and meaning; what is counted and its documentation stand on this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["METRICS", "PREFIX", "Metric", "reference_page"]

PREFIX: Final = "registry_shim_"
_FAST: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)
_MOUNT: Final = ("mount", "repository", "front")
_CHUNK: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """`labels` are the names of its labels; what `is_shown` is looked at when somebody scrapes, as gauges are."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    is_counted_elsewhere: bool = False

    @property
    def is_shown(self) -> bool:
        return self.kind == "gauge" or self.is_counted_elsewhere


METRICS: Final = (
    Metric("info", "gauge", "1, with the version of the shim.", ("version",)),
    Metric("http_requests_total", "counter", "Requests that were answered.", ("route", "code")),
    Metric("http_request_seconds", "histogram", "Time from headers to the last byte sent.", ("route",), _FAST),
    Metric("http_sent_bytes_total", "counter", "Bytes of bodies that were sent.", ("route",)),
    Metric("http_broken_total", "counter", "Answers that the client did not wait for, or that broke off.", ("route",)),
    Metric("http_connections", "gauge", "Connections that are open."),
    Metric("http_requests_running", "gauge", "Requests being answered, streamed bodies included."),
    Metric(
        "answers_total",
        "counter",
        "Manifests, tags and referrers, by where the answer came from: hit (known), miss (asked), stale (the upstream"
        " fails).",
        ("route", "cache"),
    ),
    Metric(
        "leases_total",
        "counter",
        "Blobs that were asked for: hit (whole at hand) or miss (arriving, or begun).",
        ("purpose", "outcome"),
    ),
    Metric("fetched_bytes_total", "counter", "Bytes that arrived and were accepted.", ("source",)),
    Metric("chunk_seconds", "histogram", "Time from asking for a chunk to having it on disk.", ("source",), _CHUNK),
    Metric(
        "fetches_total",
        "counter",
        "Requests for ranges, by how they ended: done, missing, wrong (other bytes), slow (given up: stalled or a"
        " straggler), broken.",
        ("source", "outcome"),
    ),
    Metric("hedges_total", "counter", "Chunks for which a second source was asked.", ("source",)),
    Metric("committed_blobs_total", "counter", "Blobs that came, were found right, and are in the store."),
    Metric("committed_bytes_total", "counter", "Bytes of those."),
    Metric("wrong_blobs_total", "counter", "Blobs that came whole and were not what their digest says."),
    Metric("scrubbed_bytes_total", "counter", "Bytes on disk that were read again and are right."),
    Metric("quarantined_blobs_total", "counter", "Blobs that the disk had damaged; the next pull fetches them anew."),
    Metric("transfers", "gauge", "Blobs in use or on their way.", ("state",)),
    Metric("cache_used_bytes", "gauge", "Bytes on disk that the cache takes."),
    Metric("cache_coming_bytes", "gauge", "Bytes promised to transfers that run, and not written yet."),
    Metric("cache_evictable_bytes", "gauge", "Bytes that could go if room were needed now."),
    Metric("cache_capacity_bytes", "gauge", "Bytes that the cache may come to."),
    Metric("capacity_used_rate", "gauge", "Share of the capacity in use, 0 to 1: what an autoscaler looks at."),
    Metric("disk_free_bytes", "gauge", "Free bytes of the file system."),
    Metric("images", "gauge", "Images on this node.", ("state",)),
    Metric("evicted_total", "counter", "Blobs and manifests that went to make room."),
    Metric("evicted_bytes_total", "counter", "Bytes of those."),
    Metric("no_room_total", "counter", "Transfers for which there was no room."),
    Metric("verdicts", "gauge", "Images that somebody asked for, by what the gate says.", ("state",)),
    Metric("refusals_total", "counter", "Requests that the gate refused.", ("kind",)),
    Metric("rulings_total", "counter", "Rulings of the gate, new or changed.", ("state",)),
    Metric("scans_total", "counter", "Images that this node scanned.", ("outcome",)),
    Metric("revocations_total", "counter", "Images that were served before and are not any more."),
    Metric("policy_reloads_total", "counter", "Times that policies were read again.", ("result",)),
    Metric("peers", "gauge", "Other nodes, by how they do.", ("state",)),
    Metric("precache_images", "gauge", "Images to be fetched ahead, by how far they are.", ("phase",)),
    Metric("precache_bytes", "gauge", "Bytes of them, in all and here.", ("which",)),
    Metric("mounts", "gauge", "Models that are mounted lazily, by the way to the kernel.", ("front",)),
    Metric("mount_bytes", "gauge", "Bytes of a mounted model, in all (total) and here.", (*_MOUNT, "which")),
    Metric("mount_waiting", "gauge", "Ranges that readers of a mounted model wait for.", _MOUNT),
    Metric("mount_lost_blobs", "gauge", "Layers of a mounted model that cannot be read any more.", _MOUNT),
    Metric(
        "mount_answers_total",
        "counter",
        "Ranges that readers of a mounted model had to wait for: done, or failed (an I/O error).",
        (*_MOUNT, "outcome"),
        is_counted_elsewhere=True,
    ),
)


def reference_page() -> str:
    """A Markdown table of them all."""
    lines = [
        "# Metrics of the shim\n",
        "What `/metrics` shows, beside `process_*` of the Prometheus client. Generated by `make docs`;",
        "[how to operate a node](../how-to/operate.md) says what to look at.\n",
        "| metric | kind | labels | |",
        "|---|---|---|---|",
    ]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{PREFIX}{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"
