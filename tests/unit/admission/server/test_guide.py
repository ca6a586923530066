"""The guide to the webhook: its configurations are ones, and what it watches exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from modelcar.admission.server.metrics import PROBLEMS, Metrics
from modelcar.admission.server.settings import WebhookSettings
from modelcar.serving.config.reading import load

GUIDE = (Path(__file__).parents[4] / "docs" / "how-to" / "webhook.md").read_text()
CONFIGURATIONS = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_its_configurations_are_understood(text: str) -> None:
    assert load(text, WebhookSettings) != WebhookSettings()


def test_there_are_configurations() -> None:
    assert len(CONFIGURATIONS) >= 2


def test_what_it_watches_is_what_there_is() -> None:
    metrics = Metrics()
    metrics.look_at(enabled=lambda: True, accepted=lambda: 0, until=lambda: 0)
    families = text_string_to_metric_families(metrics.exposition().decode())
    there = {f.name + ("_total" if f.type == "counter" else "") for f in families if not f.name.endswith("_created")}
    named = set(re.findall(r"`(modelcar_admission_[a-z_]+)`", GUIDE))
    assert named == {name for name in there if name.startswith("modelcar_")}
    assert all(f"`{problem}`" in GUIDE for problem in PROBLEMS)


def test_its_figures_are_the_defaults() -> None:
    server = WebhookSettings().server
    assert (server.body_bytes, server.bodies_bytes) == (3 << 20, 48 << 20)
    assert (server.decisions, server.waiting, server.request_seconds) == (8, 64, 9.0)
    assert "3 MiB a request, 48 MiB for all" in GUIDE
    assert "8 pods decided about at once and 64 that wait; 9 seconds" in GUIDE
    assert f"`{server.certificates.secret}`" in GUIDE
    assert server.drain_seconds + server.stop_seconds < 30
