"""The how-to's configuration is one."""

from __future__ import annotations

import re
from pathlib import Path

from modelcar.serving.config.reading import load
from modelcar.signing.policy import parse
from registry_shim.gate.settings import Mode, OnPending, ScanDemand
from registry_shim.operations.settings import NodeSettings

_PAGE = Path(__file__).parents[4] / "docs/how-to/gate.md"


def test_the_examples_can_be_used_as_they_are() -> None:
    configuration, deny_list = re.findall(r"```yaml\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    gate = load(configuration, NodeSettings).gate
    ours, vendors = gate.rules
    assert (ours.mode, ours.scan, ours.on_pending) == (Mode.ENFORCE, ScanDemand.NODE, OnPending.HOLD)
    assert vendors.mode is Mode.WARN
    assert len(parse([("deny.yaml", deny_list.encode())]).deny_lists) == 1
