"""What the command line says goes before what the file says."""

from __future__ import annotations

import pytest

from modelcar.errors import UsageError
from registry_shim.operations.settings import NodeSettings
from registry_shim.peers.settings import PeerSettings


def test_a_value_instead_of_the_files() -> None:
    settings = NodeSettings(listen="127.0.0.1:1", writable=True)
    assert settings.overridden({"listen": "127.0.0.1:2"}) == NodeSettings(listen="127.0.0.1:2", writable=True)


def test_one_value_of_a_part_leaves_the_others() -> None:
    settings = NodeSettings(peers=PeerSettings(dns="shim.example:5443")).overridden({"peers.listen": "10.0.0.7:5443"})
    assert settings.peers == PeerSettings(listen="10.0.0.7:5443", dns="shim.example:5443")


def test_a_value_of_a_part_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="nothing else of `peers`"):
        NodeSettings().overridden({"peers.listen": "10.0.0.7:5443"})


@pytest.mark.parametrize("text", ["", "5000", "https://127.0.0.1:5000", "127.0.0.1:99999", "127.0.0.1:" + "0" * 60])
@pytest.mark.parametrize("name", ["listen", "metrics_listen"])
def test_an_address_that_is_none_is_told_with_its_setting(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"^{name}: '.*' is not an address"):
        NodeSettings().overridden({name: text})


def test_a_value_that_its_part_refuses() -> None:
    settings = NodeSettings(peers=PeerSettings(dns="shim.example:5443"))
    with pytest.raises(UsageError, match="cannot reach"):
        settings.overridden({"peers.listen": "0.0.0.0:5443"})
