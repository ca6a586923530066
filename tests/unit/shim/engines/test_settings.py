"""What cannot be wired so that it holds is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.errors import UsageError
from registry_shim.engines.settings import Engine, WiringSettings


@pytest.mark.parametrize(
    "shim", ["http://127.0.0.1:5000", "http://[::1]:5000", "http://localhost:5000", "https://n:5000"]
)
def test_places_that_nobody_can_take(shim: str) -> None:
    assert WiringSettings(registries=("ghcr.io",), shim=shim).shim == shim


@pytest.mark.parametrize(
    ("shim", "why"),
    [
        ("http://10.0.0.7:5000", "plain HTTP"),
        ("http://shim.example:5000", "plain HTTP"),
        ("127.0.0.1:5000", "no address"),
        ("http://127.0.0.1:50000000", "no address"),
        ("http://user:secret@127.0.0.1:5000", "takes no credentials"),
        ("http://127.0.0.1:5000/v2", "no path"),
    ],
)
def test_addresses_that_are_none(shim: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        WiringSettings(registries=("ghcr.io",), shim=shim)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("registry", ["", "ghcr.io/acme", "https://ghcr.io", "../etc", "_default", "a b"])
def test_names_that_are_no_registry(registry: str) -> None:
    with pytest.raises(UsageError, match="is not a registry"):
        WiringSettings(registries=(registry,))


def test_lists_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="no registry"):
        WiringSettings(registries=())
    with pytest.raises(UsageError, match="twice"):
        WiringSettings(registries=("ghcr.io", "ghcr.io"))
    with pytest.raises(UsageError, match="no engine"):
        WiringSettings(registries=("ghcr.io",), engines=frozenset())
    with pytest.raises(UsageError, match="shim itself"):
        WiringSettings(registries=("127.0.0.1:5000",))
    with pytest.raises(UsageError, match="no repository"):
        WiringSettings(registries=("ghcr.io",), excluded=("ghcr.io",), engines=frozenset({Engine.CRIO}))
    with pytest.raises(UsageError, match="absolute"):
        WiringSettings(registries=("ghcr.io",), config_path="certs.d")
    with pytest.raises(UsageError, match="at least a second"):
        WiringSettings(registries=("ghcr.io",), dial_seconds=0)
    with pytest.raises(UsageError, match="of no use"):
        WiringSettings(registries=("ghcr.io",), ca=Path("ca.pem"))
