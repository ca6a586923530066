"""A password that stands where none belongs is refused without being shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelcar.errors import UsageError
from modelcar.serving.address import Address
from registry_shim.engines.settings import WiringSettings
from registry_shim.mirror.settings import UpstreamSettings
from registry_shim.operations.settings import TraceSettings
from registry_shim.peers.members import Member

PASSWORD = "correct-horse"
PLACES: dict[str, Callable[[], object]] = {
    "upstream": lambda: UpstreamSettings.parse(f"u:{PASSWORD}@ghcr.io"),
    "upstream's URL": lambda: UpstreamSettings.parse(f"ghcr.io=https://u:{PASSWORD}@ghcr.io"),
    "wired registry": lambda: WiringSettings(registries=(f"u:{PASSWORD}@ghcr.io",)),
    "shim": lambda: WiringSettings(registries=("ghcr.io",), shim=f"http://u:{PASSWORD}@127.0.0.1:5000"),
    "excluded": lambda: WiringSettings(registries=("ghcr.io",), excluded=(f"u:{PASSWORD}@h/a/b",)),
    "peer": lambda: Member.parse(f"u:{PASSWORD}@10.0.0.1:5443"),
    "listener": lambda: Address.parse(f"u:{PASSWORD}@127.0.0.1:5000"),
    "collector": lambda: TraceSettings(endpoint=f"http://u:{PASSWORD}@127.0.0.1:4318/v1/traces"),
}


@pytest.mark.parametrize("place", PLACES)
def test_it_is_refused_and_not_shown(place: str) -> None:
    with pytest.raises(UsageError) as caught:
        PLACES[place]()
    assert PASSWORD not in f"{caught.value} {caught.value.hint} {caught.value.reasons}"
