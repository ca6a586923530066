"""Mounted models, in metrics and on the status page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from modelcar.cache.origin import Origin
from modelcar.mounts.figures import MountFigures
from modelcar.mounts.records import MountRecord
from registry_shim.operations.metrics import Metrics
from registry_shim.operations.sights import Sights
from registry_shim.operations.ui.data import snapshot

ORIGIN = Origin(registry="ghcr.io", repository="acme/llm")


def mount(name: str, *, front: str = "erofs", **figures: Any) -> MountFigures:
    record = MountRecord(id=name, target=Path("/images/1"), origin=ORIGIN, front=front)
    return MountFigures(record=record, reference="ghcr.io/acme/llm:v1", size=100, **figures)


Scrape = Callable[[list[MountFigures]], dict[str, list[tuple[dict[str, str], float]]]]


@pytest.fixture
def scrape() -> Scrape:
    def scraped(mounts: list[MountFigures]) -> dict[str, list[tuple[dict[str, str], float]]]:
        metrics = Metrics()
        metrics.look_at(Sights(mounts=lambda: mounts))
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(metrics.exposition().decode()):
            for sample in family.samples:
                found.setdefault(sample.name.removeprefix("registry_shim_"), []).append((sample.labels, sample.value))
        return found

    return scraped


def test_each_mount_shows_how_far_it_is(scrape: Scrape) -> None:
    seen = scrape([mount("a", present=40, waiting=3, answered=7, failed=2, lost=1), mount("b", front="")])
    a = {"mount": "a", "repository": "ghcr.io/acme/llm", "front": "erofs"}
    b = {**a, "mount": "b", "front": "starting"}
    assert seen["mounts"] == [({"front": "erofs"}, 1), ({"front": "starting"}, 1)]
    assert ({**a, "which": "here"}, 40) in seen["mount_bytes"]
    assert ({**a, "which": "total"}, 100) in seen["mount_bytes"]
    assert ({**b, "which": "here"}, 0) in seen["mount_bytes"]
    assert (a, 3) in seen["mount_waiting"]
    assert (a, 1) in seen["mount_lost_blobs"]
    assert ({**a, "outcome": "done"}, 7) in seen["mount_answers_total"]
    assert ({**a, "outcome": "failed"}, 2) in seen["mount_answers_total"]


def test_very_many_mounts_are_not_very_many_series(scrape: Scrape) -> None:
    seen = scrape([mount(f"{n:04}", waiting=1) for n in range(1000)])
    assert len(seen["mount_waiting"]) == 101
    assert sum(value for _, value in seen["mount_waiting"]) == 1000
    assert ({"mount": "others", "repository": "", "front": ""}, 900) in seen["mount_waiting"]


def test_the_status_page_lists_them() -> None:
    sights = Sights(mounts=lambda: [mount("a", present=40, trouble="ghcr.io cannot be reached")])
    (shown,) = snapshot(sights, totals={}, problem=None, started=0.0)["mounts"]
    assert (shown["reference"], shown["present"], shown["size"]) == ("ghcr.io/acme/llm:v1", 40, 100)
    assert (shown["target"], shown["trouble"]) == ("/images/1", "ghcr.io cannot be reached")
