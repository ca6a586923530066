"""Which names of Python objects do harm when a configuration has them called."""

from __future__ import annotations

import pytest

from modelcar.scanning.callables import is_dangerous


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "posix.system",
        "subprocess.run",
        "builtins.eval",
        "eval",
        "importlib.import_module",
        "torch.os.system",
        "pickle:load",
    ],
)
def test_dangerous(name: str) -> None:
    assert is_dangerous(name)


@pytest.mark.parametrize(
    "name", ["torch.nn.Linear", "os.path.join", "builtins.dict", "osmium.system", "models.code.run", "open"]
)
def test_harmless(name: str) -> None:
    assert not is_dangerous(name)
