"""`registry-shim status`, `precache`, `pin`, `unpin`, `gc` and `rescan`, as people run them beside a running shim."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import Denied, Unreachable
from registry_shim.cli import main
from registry_shim.cli.asking import lasting
from registry_shim.operations.admin.client import AdminClient
from tests.support.waiting import eventually
from tests.unit.shim.operations.admin.node import Administered, listening
from tests.unit.shim.space.node import Node

pytestmark = pytest.mark.slow

V1 = "r.example/org/m:v1"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Administered]:
    node = Administered(Node(tmp_path / "root", now=time.time()))
    monkeypatch.setenv("REGISTRY_SHIM_ROOT", str(node.node.root))
    with node.admin() as admin, listening(node.node.root, admin.handle):
        yield node


class Shown:
    """What a command printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.out, self.err = capsys.readouterr()

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def test_status_of_a_node_in_use(node: Administered, capsys: pytest.CaptureFixture[str]) -> None:
    node.node.image(V1, node.node.layer(1))
    assert main(["pin", V1]) == 0
    assert Shown(capsys).out == f"pinned {V1}\n"
    assert main(["status"]) == 0
    shown = Shown(capsys)
    assert "registry-shim 1 at 127.0.0.1:5000, up for " in shown.out
    assert "upstreams: r.example" in shown.out
    row = next(line for line in shown.out.splitlines() if line.startswith(V1))
    assert row.split()[1:] == ["12.3", "kB", "whole", "pinned", "17", "min", "ago"]
    assert main(["status", "--json"]) == 0
    assert Shown(capsys).document["images"][0]["names"] == [V1]


def test_pinning_what_is_not_here_yet_says_so(node: Administered, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pin", V1, "ubuntu", "--json"]) == 0
    pinned = Shown(capsys).document["pinned"]
    assert [pin["reference"] for pin in pinned] == [V1, "docker.io/library/ubuntu:latest"]
    assert main(["unpin", "ubuntu"]) == 0
    assert Shown(capsys).out == "unpinned docker.io/library/ubuntu:latest\n"
    assert main(["unpin", "ubuntu"]) == 2
    assert "is not pinned" in Shown(capsys).err


def test_gc(node: Administered, capsys: pytest.CaptureFixture[str]) -> None:
    layer = node.node.layer(1, blocks=100)
    node.node.image(V1, layer)
    assert main(["gc"]) == 0
    assert Shown(capsys).out == "freed 0 B: nothing had to go\n"
    assert main(["gc", "--free", "1kB", "--dry-run"]) == 0
    shown = Shown(capsys)
    assert "would free 418 kB: 1 image\n" in shown.out
    assert node.node.has(layer)
    assert main(["gc", "--free", "1GB"]) == 0
    shown = Shown(capsys)
    assert "freed 418 kB" in shown.out
    assert "no more than that may go of the 1.0 GB" in shown.err
    assert not node.node.has(layer)
    assert main(["gc", "--free", "1GB"]) == 0
    assert Shown(capsys).out == "freed 0 B: nothing may go now\n"
    assert main(["gc", "--free", "much"]) == 2


def test_an_image_of_several_names_is_listed_once_and_says_so(
    node: Administered, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = node.node.layer(1)
    for name in (V1, "r.example/org/m:v2", "r.example/other:v1"):
        node.node.image(name, layer)
    assert main(["status"]) == 0
    assert "r.example/org/m:v1 and 2 more " in Shown(capsys).out
    assert main(["gc", "--free", "1kB", "--dry-run"]) == 0
    assert "r.example/org/m:v1 and 2 more " in Shown(capsys).out


def test_what_was_here_already_came_at_no_rate(node: Administered, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytes(64 << 20)
    node.upstream.images.add(V1, content)
    assert main(["precache", V1, "--wait"]) == 0
    assert main(["precache", V1]) == 0
    eventually(lambda: AdminClient(node.node.root).get("precache", reference=V1)["phase"] == "ready")
    capsys.readouterr()
    assert main(["precache", V1, "--wait"]) == 0
    assert "/s" not in Shown(capsys).err


@pytest.mark.parametrize(
    ("found", "scan", "reason", "said"),
    [
        ("clean", "now", None, "clean is forgotten; it is being scanned"),
        ("malicious", "now", None, "malicious until a new scan says otherwise; it is being scanned"),
        (None, "next-pull", None, "this node had found nothing yet; it is scanned with the next pull"),
        ("malicious", "never", "no rule asks", "malicious is forgotten; it is not scanned: no rule asks"),
    ],
)
def test_rescan_says_what_becomes_of_it(
    node: Administered,
    capsys: pytest.CaptureFixture[str],
    found: str | None,
    scan: str,
    reason: str | None,
    said: str,
) -> None:
    node.rescanned = {"found": found, "scan": scan, "reason": reason}
    assert main(["rescan", V1]) == 0
    assert Shown(capsys).out == f"{V1}: {said}\n"
    assert main(["rescan", V1, "--json"]) == 0
    assert Shown(capsys).document["images"] == [{"reference": V1, **node.rescanned}]


def test_rescan_of_what_is_not_known(node: Administered, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rescan", V1]) == 2
    assert f"{V1} was never pulled" in Shown(capsys).err


def test_precaching_until_all_is_ready(node: Administered, capsys: pytest.CaptureFixture[str]) -> None:
    node.upstream.images.add(V1, b"layer")
    assert main(["precache", V1, "--wait", "--pin"]) == 0
    assert Shown(capsys).out.startswith(f"{V1}: ready")
    assert node.upstream.room.pins == {V1}
    assert main(["precache", "--list"]) == 0
    row = Shown(capsys).out.splitlines()[-1]
    assert row.split() == [V1, "ready", "100", "%", "0", "pin", "command"]
    assert main(["precache", "--cancel", V1]) == 0
    assert main(["precache", "--list", "--json"]) == 0
    assert Shown(capsys).out.endswith('"images": [], "problems": {}}\n')


def test_what_the_gate_refuses_is_a_no(node: Administered, capsys: pytest.CaptureFixture[str]) -> None:
    node.upstream.images.add(V1, b"layer")
    node.upstream.guard.answers = [Denied("malicious: pickle calls os.system", hint="ask the publisher")]
    assert main(["precache", V1, "--wait"]) == 1
    shown = Shown(capsys)
    assert f"{V1}: malicious: pickle calls os.system" in shown.err
    assert "ask the publisher" in shown.err


def test_what_cannot_be_fetched_is_the_worlds_fault(node: Administered, capsys: pytest.CaptureFixture[str]) -> None:
    node.upstream.images.failures = [Unreachable("r.example does not answer")]
    assert main(["precache", V1, "--wait"]) == 3
    assert "r.example does not answer" in Shown(capsys).err


def test_without_waiting_it_is_queued(node: Administered, capsys: pytest.CaptureFixture[str]) -> None:
    node.upstream.images.add(V1, b"layer")
    held = node.upstream.images.hold(b"layer")
    assert main(["precache", V1, "--limit-rate", "1Gbit/s", "--priority", "3"]) == 0
    assert Shown(capsys).out == f"{V1}: queued\n"
    assert node.upstream.rates[-1] == 125_000_000.0
    eventually(lambda: bool(node.upstream.images.leases))
    node.upstream.images.let(held)


@pytest.mark.parametrize(
    "arguments",
    [
        ["precache"],
        ["precache", V1, "--limit-rate", "fast"],
        ["precache", "::"],
        ["precache", V1, "--cancel", "--wait"],
    ],
)
def test_what_makes_no_sense(node: Administered, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Traceback" not in Shown(capsys).err


@pytest.mark.parametrize("verb", [["status"], ["gc"], ["pin", V1], ["unpin", V1], ["precache", V1]])
def test_without_a_shim(tmp_path: Path, verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, "--root", str(tmp_path)]) == 3
    assert f"no shim runs over {tmp_path}" in Shown(capsys).err


def test_times_for_people() -> None:
    assert [lasting(seconds) for seconds in (5, 200, 7300, 200_000)] == ["5 s", "3 min", "2 h", "2 d"]
