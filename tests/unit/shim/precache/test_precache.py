"""From a name in a list to an image that is ready."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import Denied, NotFound, StorageError, Unreachable, UsageError
from modelcar.oci import Digest
from registry_shim.precache.precache import Precache
from registry_shim.precache.settings import PrecacheImage, PrecacheSettings, Window
from registry_shim.precache.wanted import this_platform
from tests.support.waiting import eventually

from .doors import FakeLease, FakeNode

V1, V2 = "r.example/org/m:v1", "r.example/org/m:v2"


def no_yaml(text: str, name: str) -> tuple[PrecacheImage, ...]:
    raise UsageError(f"{name} is not read in this test")


@contextmanager
def running(node: FakeNode, root: Path, **settings: Any) -> Iterator[Precache]:
    values = {"interval": 0.05, "retry": 0.05, "retry_most": 0.05, **settings}
    precache = Precache(root, PrecacheSettings(**values), node.doors, no_yaml)
    precache.start()
    try:
        yield precache
    finally:
        precache.close()


@pytest.fixture(autouse=True)
def _short_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_shim.precache.precache._TICK", 0.02)


def phase(precache: Precache, name: str = V1) -> str:
    return str(precache.get(name)["phase"])


def test_an_image_becomes_ready_pinned_and_imported(tmp_path: Path) -> None:
    node = FakeNode()
    manifest = node.images.add(V1, b"one", b"two")
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V1, pin=True, load=True), "command")
        eventually(lambda: phase(precache) == "ready")
        entry = precache.get(V1)
    assert entry["digest"] == str(manifest.digest)
    assert entry["progress"]["done"] == entry["progress"]["total"] == len(b"{}" + b"one" + b"two")
    assert entry["progress"]["chunks_done"] == entry["progress"]["chunks"]
    assert node.room.pins == {V1}
    assert node.imported == [(V1, 4)]  # manifest, config, two layers
    assert node.images.attached == [manifest.digest]
    assert all(lease.closed for lease in node.images.leases)
    assert node.room.reserved_now == []


def test_nothing_counts_as_ready_before_its_last_blob_is_stored(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one", b"two")
    late = node.images.hold(b"two")
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V1), "command")
        eventually(lambda: phase(precache) == "fetching")
        node.images.held[late].set_result(None)  # every chunk is here; the digest of the whole is not checked yet
        eventually(lambda: len(node.images.leases) == 3)
        assert phase(precache) == "fetching"
        node.images.here[late] = -3
        eventually(lambda: phase(precache) == "ready")


def test_only_this_machines_platform_is_fetched(tmp_path: Path) -> None:
    node = FakeNode()
    ours, other = node.images.add("r.example/a", b"ours"), node.images.add("r.example/b", b"other")
    node.images.add_index(V1, {str(this_platform()): ours, "linux/s390x": other})
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V1), "command")
        eventually(lambda: phase(precache) == "ready")
        assert str(other.digest) not in node.images.order
        precache.add(PrecacheImage(reference=V1, platform="all"), "command")
        eventually(lambda: str(other.digest) in node.images.order and phase(precache) == "ready")


def test_what_is_larger_than_it_may_be_is_not_even_begun(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one", b"two")
    with running(node, tmp_path, retry=60.0, retry_most=60.0) as precache:
        precache.add(PrecacheImage(reference=V1, most=7), "command")
        eventually(lambda: phase(precache) == "failed")
        entry = precache.get(V1)
    assert node.images.leases == []
    assert "may take 7 B" in entry["error"]
    assert entry["progress"]["total"] > 7, "so that whoever decides about room learns how much it needs"


def test_what_the_gate_refuses_is_never_ready_and_never_pinned(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one")
    node.guard.answers = [Denied("malicious: pickle calls os.system", hint="ask the publisher")] * 1000
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V1, pin=True, load=True), "command")
        eventually(lambda: phase(precache) == "refused")
        entry = precache.get(V1)
    assert (entry["error"], entry["hint"]) == ("malicious: pickle calls os.system", "ask the publisher")
    assert node.room.pins == set()
    assert node.imported == []


def test_nothing_is_fetched_of_what_is_refused_whatever_it_holds(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one")
    node.guard.foreseen = Denied("nobody has signed it")
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V1), "command")
        eventually(lambda: phase(precache) == "refused")
        assert precache.get(V1)["error"] == "nobody has signed it"
        assert node.images.leases == []
        node.guard.foreseen = None  # signed by now
        eventually(lambda: phase(precache) == "ready")


def test_a_refusal_is_asked_again_because_policies_change(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one")
    node.guard.answers = [Denied("no")]
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V1), "command")
        eventually(lambda: phase(precache) == "ready")


def test_a_failure_is_told_and_tried_again(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one")
    node.images.failures = [Unreachable("r.example does not answer", hint="check the network")] * 3
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V1), "command")
        eventually(lambda: phase(precache) == "ready")
        assert precache.get(V1)["failures"] == 0
    assert node.images.failures == []


def test_without_room_nothing_is_fetched(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one")
    node.room.refusal = StorageError("no room for 30.0 GiB: the budget is 20.0 GiB", hint="unpin something")
    with running(node, tmp_path, retry=1000, retry_most=1000) as precache:
        precache.add(PrecacheImage(reference=V1), "command")
        eventually(lambda: phase(precache) == "failed")
        assert precache.get(V1)["error"] == "no room for 30.0 GiB: the budget is 20.0 GiB"
    assert node.images.leases == []


def test_signatures_that_cannot_be_fetched_do_not_keep_an_image_from_being_ready(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one")
    node.images.unattached = True
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V1), "command")
        eventually(lambda: phase(precache) == "ready")


def test_more_priority_goes_first(tmp_path: Path) -> None:
    node = FakeNode()
    held = node.images.hold(b"one")
    node.images.add(V1, b"one")
    for tag in ("low", "high", "higher"):
        node.images.add(f"r.example/org/m:{tag}", tag.encode())
    with running(node, tmp_path, parallel=1) as precache:
        precache.add(PrecacheImage(reference=V1), "command")
        eventually(lambda: phase(precache) == "fetching")
        for priority, tag in enumerate(("low", "high", "higher")):
            precache.add(PrecacheImage(reference=f"r.example/org/m:{tag}", priority=priority), "command")
        node.images.let(held)
        eventually(lambda: phase(precache, "r.example/org/m:low") == "ready")
    assert [name for name in node.images.order if "@" not in name and "m:" in name and name != V1] == [
        "r.example/org/m:higher",
        "r.example/org/m:high",
        "r.example/org/m:low",
    ]


def test_what_was_under_way_goes_on_after_a_restart(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one")
    node.images.hold(b"one")
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V1, pin=True), "command")
        eventually(lambda: phase(precache) == "fetching")
    node.images.held.clear()
    with running(node, tmp_path) as precache:
        eventually(lambda: phase(precache) == "ready")
    assert node.room.pins == {V1}


def test_what_is_ready_is_not_fetched_again_after_a_restart(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one")
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V1), "command")
        eventually(lambda: phase(precache) == "ready")
    asked = len(node.images.order)
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V2), "command")
        eventually(lambda: phase(precache, V2) == "failed")
        assert phase(precache) == "ready"
    assert V1 not in node.images.order[asked:]


def test_cancelling_stops_what_is_under_way_and_takes_its_pin_back(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one")
    node.images.hold(b"one")
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V1, pin=True), "command")
        eventually(lambda: phase(precache) == "fetching")
        node.room.pins.add(V1)
        precache.cancel(V1)
        with pytest.raises(NotFound):
            precache.get(V1)
        eventually(lambda: closed(node.images.leases))
    assert node.room.pins == set()


def closed(leases: list[FakeLease]) -> bool:
    return all(lease.closed for lease in leases)


def test_a_moved_tag_is_fetched_anew(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one")
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V1, refresh=1.0), "command")
        eventually(lambda: phase(precache) == "ready")
        moved = node.images.add(V1, b"another")
        eventually(lambda: phase(precache) == "ready" and precache.get(V1)["digest"] == str(moved.digest))


def test_lists_are_followed_as_they_change(tmp_path: Path) -> None:
    node = FakeNode()
    for name in (V1, V2):
        node.images.add(name, name.encode())
    folder = tmp_path / "precache.d"
    folder.mkdir()
    (folder / "models.txt").write_text(f"{V1} pin\n")
    with running(node, tmp_path) as precache:
        eventually(lambda: names(precache) == [V1] and phase(precache) == "ready")
        assert node.room.pins == {V1}
        with pytest.raises(UsageError, match=r"stands in a list \(file:models.txt\)"):
            precache.cancel(V1)
        (folder / "models.txt").write_text(f"{V2} priority=3  # instead\n")
        eventually(lambda: names(precache) == [V2] and phase(precache, V2) == "ready")
        assert node.room.pins == set(), "a pin goes with the line that asked for it"


def names(precache: Precache) -> list[str]:
    return [entry["reference"] for entry in precache.status()["images"]]


def test_a_list_that_cannot_be_read_changes_nothing_and_is_reported(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one")
    folder = tmp_path / "precache.d"
    folder.mkdir()
    (folder / "models.txt").write_text(f"{V1}\n")
    with running(node, tmp_path) as precache:
        eventually(lambda: names(precache) == [V1])
        (folder / "models.txt").write_text(f"{V1} pinn\n\n")
        eventually(lambda: bool(precache.status()["problems"]))
        assert precache.status()["problems"] == {"models.txt": "models.txt:1: 'pinn' is not an option"}
        assert names(precache) == [V1]


def test_outside_of_its_windows_nothing_begins_and_what_runs_is_held(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one")
    clock = [12 * 3600.0]  # noon
    settings = PrecacheSettings(windows=(Window.parse("22:00-06:00"),), rate=1000, interval=0.05)
    precache = Precache(tmp_path, settings, node.doors, no_yaml, clock=lambda: clock[0])
    precache.start()
    try:
        precache.add(PrecacheImage(reference=V1), "command")
        assert precache.status()["open"] is False
        assert node.rates == [0.0]
        clock[0] = 23 * 3600.0
        eventually(lambda: phase(precache) == "ready")
        assert node.rates == [0.0, 1000.0]
        clock[0] = 31 * 3600.0
        eventually(lambda: node.rates == [0.0, 1000.0, 0.0])
    finally:
        precache.close()


def test_the_limit_can_be_changed_while_it_runs(tmp_path: Path) -> None:
    node = FakeNode()
    with running(node, tmp_path, rate=5000) as precache:
        precache.limit(100)
        precache.limit(0)
        assert node.rates == [5000.0, 100.0, None]


def test_a_defect_of_ours_ends_no_thread(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V2, b"one")
    node.images.documents[V1] = None  # type: ignore[assignment]  # which nobody expects
    with running(node, tmp_path, parallel=1, retry=1000, retry_most=1000) as precache:
        precache.add(PrecacheImage(reference=V1), "command")
        eventually(lambda: phase(precache) == "failed")
        assert "internal error: TypeError" in precache.get(V1)["error"]
        precache.add(PrecacheImage(reference=V2), "command")
        eventually(lambda: phase(precache, V2) == "ready")


def test_a_scan_that_takes_long_is_waited_for_and_can_be_cancelled(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one")
    verdict: Future[None] = Future()
    node.guard.answers = [verdict]
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V1), "command")
        eventually(lambda: phase(precache) == "checking")
        precache.cancel(V1)
        eventually(verdict.cancelled)


def test_a_digest_is_fetched_as_it_is(tmp_path: Path) -> None:
    node = FakeNode()
    manifest = node.images.add("r.example/org/m", b"one")
    with running(node, tmp_path) as precache:
        name = f"r.example/org/m@{manifest.digest}"
        precache.add(PrecacheImage(reference=name), "command")
        eventually(lambda: phase(precache, name) == "ready")
    assert Digest.of(b"one") in {lease.grid.digest for lease in node.images.leases}


def test_what_was_evicted_is_not_called_ready(tmp_path: Path) -> None:
    node = FakeNode()
    manifest = node.images.add(V1, b"one")
    with running(node, tmp_path) as precache:
        precache.add(PrecacheImage(reference=V1), "command")
        eventually(lambda: phase(precache) == "ready")
        del node.images.here[manifest.digest]
        eventually(lambda: phase(precache) == "evicted")
        precache.add(PrecacheImage(reference=V1), "command")
        eventually(lambda: phase(precache) == "ready")


def test_an_image_is_not_taken_for_imported_where_there_is_no_engine(tmp_path: Path) -> None:
    node = FakeNode()
    node.images.add(V1, b"one")
    doors = replace(node.doors, importer=None)
    settings = PrecacheSettings(images=(PrecacheImage(reference=V1, load=True),), interval=0.05)
    precache = Precache(tmp_path, settings, doors, no_yaml)
    precache.start()
    try:
        eventually(lambda: names(precache) == [V1] and phase(precache) == "failed")
        assert "knows of no engine" in precache.get(V1)["error"]
        with pytest.raises(UsageError, match="knows of no engine"):
            precache.add(PrecacheImage(reference=V2, load=True), "command")
    finally:
        precache.close()
