"""Nodes that share: real processes on machines of their own, links shaped, bytes counted at the upstream."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import SIZE
from tests.e2e.support.commands import run
from tests.support.authority import Authority
from tests.support.skips import unavailable
from tests.support.swarm import Swarm, swarm
from tests.support.waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.debian("ip", "tc")]

MBIT = 200
IDENTITY = "spiffe://cluster.example/registry-shim"
OVERHEAD = 1.08  # what TCP, IP and Ethernet add to a byte on the link, and HTTP's small talk


@pytest.fixture
def nodes(tmp_path: Path, repositories: Path) -> Iterator[Swarm]:
    try:
        with swarm(tmp_path, repositories, MBIT) as made:
            yield made
    except PermissionError as e:
        unavailable(f"network namespaces cannot be made: {e}")


def upstream_bytes(nodes: Swarm) -> float:
    return nodes.network.sent(nodes.upstream) / SIZE


def test_three_nodes_take_one_copy(nodes: Swarm) -> None:
    shims = nodes.add(3)
    nodes.pull(shims, "org/model")
    assert upstream_bytes(nodes) < 1.1 * OVERHEAD


def test_a_node_that_joins_later_takes_nothing_from_the_upstream(nodes: Swarm) -> None:
    nodes.pull(nodes.add(2), "org/model")
    before = upstream_bytes(nodes)
    joined = nodes.add(1)
    nodes.pull(joined, "org/model")
    assert upstream_bytes(nodes) - before < 0.05


def test_a_peer_killed_in_the_middle_costs_little_and_nobody_fails(nodes: Swarm) -> None:
    shims = nodes.add(4)
    pulls = [nodes.begin_pull(shim, "org/model") for shim in shims[:3]]
    eventually(lambda: upstream_bytes(nodes) > 0.4, "the pull is under way")
    shims[3].kill()
    for pull in pulls:
        nodes.end_pull(pull)
    assert upstream_bytes(nodes) < 1.5 * OVERHEAD


def test_a_node_that_was_killed_goes_on_where_it_was(nodes: Swarm) -> None:
    shims = nodes.add(2)
    pull = nodes.begin_pull(shims[0], "org/model")
    eventually(lambda: upstream_bytes(nodes) > 0.5, "the pull is under way")
    shims[0].kill()
    pull.kill()
    pull.communicate()
    config = (shims[0].folder / "config.yaml").read_text()
    again = nodes.start(shims[0].machine, json.loads(config)["peers"])
    nodes.pull([again], "org/model")
    assert upstream_bytes(nodes) < 1.4 * OVERHEAD


def test_an_unplugged_peer_is_done_without(nodes: Swarm) -> None:
    """Nothing tells that it is gone: it is silent."""
    shims = nodes.add(3)
    nodes.network.unplug(shims[2].machine)
    nodes.pull(shims[:2], "org/model")
    assert upstream_bytes(nodes) < 1.6 * OVERHEAD


def test_a_slow_peer_does_not_hold_up_the_others(nodes: Swarm) -> None:
    """Its link has a fiftieth of the others' rate: alone, its share would take them seven seconds and more each."""
    shims = nodes.add(4)
    nodes.network.shape(shims[3].machine, MBIT // 50)
    began = time.monotonic()
    nodes.pull(shims[:3], "org/model")
    assert upstream_bytes(nodes) < 2 * OVERHEAD
    took = time.monotonic() - began
    assert took < 40, f"{took:.0f} s"


def test_a_liar_is_dropped_and_every_byte_is_right(nodes: Swarm) -> None:
    """Its disk has damaged a layer that it holds; whoever pulls checks each blob."""
    shims = nodes.add(3)
    nodes.pull(shims[:1], "org/model")
    blobs = sorted((shims[0].folder / "root/blobs/sha256").iterdir(), key=lambda p: p.stat().st_size)
    blobs[-1].chmod(0o600)
    size = blobs[-1].stat().st_size
    blobs[-1].write_bytes(bytes(size))
    nodes.pull(shims[1:], "org/model")
    assert any("wrong bytes" in (shim.folder / "log").read_text() for shim in shims[1:])


def test_peers_are_those_with_a_certificate(nodes: Swarm, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    issued = authority.issue("node", uris=[IDENTITY])
    other = Authority(tmp_path / "other")
    forged = other.issue("node", uris=[IDENTITY])

    def peer(files: Any, ca: Path) -> dict[str, Any]:
        tls = {
            "certificate_file": str(files.certificate),
            "key_file": str(files.key),
            "ca_file": str(ca),
            "identity": IDENTITY,
        }
        return {"tls": tls, "insecure": False}

    members = [peer(issued, authority.ca_file)] * 2
    shims = nodes.add(3, settings=[*members, peer(forged, other.ca_file)])
    nodes.pull(shims[:2], "org/model")
    before = upstream_bytes(nodes)
    assert before < 1.6 * OVERHEAD
    nodes.pull(shims[2:], "org/model")
    assert upstream_bytes(nodes) - before > 0.9  # nobody gives it anything
    address = f"https://{shims[0].machine.address}:5443/peer/v1/"
    curl = [*shims[2].machine.enter, "curl", "--silent", "--insecure", address]
    if shutil.which("curl"):
        assert run(*curl, check=False).returncode != 0
        certificate = ["--cert", str(issued.certificate), "--key", str(issued.key)]
        assert run(*curl, *certificate).stdout == "{}"
