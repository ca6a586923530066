"""The how-to works as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import modelcar
from registry_shim.testing import running_registry
from tests.support.checkpoints import make_checkpoint

pytestmark = pytest.mark.slow

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to" / "load.md"


def test_the_how_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    make_checkpoint(tmp_path / "my-model", elements=100)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELCAR_HOME", str(tmp_path / "home"))
    blocks = re.findall(r"```python\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    ours = [block for block in blocks if "not run here" not in block]
    assert (len(blocks), len(ours)) == (6, 5)
    with running_registry() as address:
        modelcar.build("./my-model", f"{address}/org/my-model:v1", scan=False)
        modelcar.push(f"{address}/org/my-model:v1")
        exec("\n".join(ours).replace("localhost:5000", address), {})  # noqa: S102  # our own document
    printed = capsys.readouterr().out
    assert printed.count("model.layers.2.weight (100,)") == 2
    assert "uint16 {'safetensors': 'BF16'}" in printed
    assert "'model.layers.3.weight': (50,)" in printed
