"""The guide to operating a node: its configurations are ones, and what it watches exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelcar.serving.config.reading import load
from registry_shim.operations.catalogue import METRICS, PREFIX
from registry_shim.operations.settings import NodeSettings

GUIDE = (Path(__file__).parents[4] / "docs" / "how-to" / "operate.md").read_text()
CONFIGURATIONS = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_its_configurations_are_understood(text: str) -> None:
    assert load(text, NodeSettings) != NodeSettings()


def test_there_are_configurations() -> None:
    assert len(CONFIGURATIONS) >= 2


def test_what_it_watches_exists() -> None:
    named = set(re.findall(rf"{PREFIX}[a-z_]+", GUIDE))
    assert len(named) > 5
    assert named <= {PREFIX + metric.name for metric in METRICS}
