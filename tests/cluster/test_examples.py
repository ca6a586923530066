"""The example files before a real API server, as far as it knows their kinds: nothing is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.support.webhook import Webhook

pytestmark = pytest.mark.conformance

FOLDER = Path(__file__).parents[2] / "examples" / "kubernetes"
KNOWN = ("v1", "apps/v1", "batch/v1", "autoscaling/v2", "modelcar.dev/v1alpha1")
KINDS = {"Deployment", "Job", "HorizontalPodAutoscaler", "ModelCache"}


def examples() -> list[dict[str, Any]]:
    documents = [each for path in sorted(FOLDER.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text())]
    return [each for each in documents if each and each["apiVersion"] in KNOWN]


def test_examples_are_taken(webhook: Webhook) -> None:
    assert {each["kind"] for each in examples()} >= KINDS
    for each in examples():
        options = ("--dry-run=server", "--validate=strict", "-f", "-")
        said = webhook.cluster.kubectl("create", *options, stdin=yaml.safe_dump(each), check=False)
        assert said.endswith("created (server dry run)\n"), said
        assert len(said.splitlines()) == 1, said  # no warnings


def test_the_kustomize_base_is_taken(webhook: Webhook) -> None:
    said = webhook.cluster.kubectl(
        "apply", "--dry-run=server", "--server-side", "--force-conflicts", "-k", FOLDER / "base"
    )
    lines = said.splitlines()
    assert lines
    assert all(line.endswith("serverside-applied (server dry run)") for line in lines), said
