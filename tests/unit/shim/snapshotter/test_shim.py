"""Lazy layers through a shim: what it is asked, and what is started, when."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import NotFound, WorldError
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.process.unmounting import Mounted
from modelcar.mounts.start_times import start_time
from modelcar.oci import Descriptor, Digest, media_types
from registry_shim.snapshotter import shim
from registry_shim.snapshotter.records import ModelImage
from registry_shim.snapshotter.shim import ShimMounter

pytestmark = pytest.mark.slow

LAYER = Descriptor(media_type=media_types.LAYER_TAR, digest=Digest.of(b"layer"), size=4096)
PLAN = MountPlan(reference="r", digest=Digest.of(b"m"), blobs=(LAYER,), files=())
IMAGE = ModelImage(number=7, reference="registry.example/acme/model:v1", manifest=Digest.of(b"m"))


class FakeShim:
    """What the shim is asked; what it answers. Mounts are this test's own processes."""

    def __init__(self, folder: Path) -> None:
        self.plan = folder / "plan.json"
        self.plan.write_bytes(PLAN.to_json())
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.failure: Exception | None = None
        self.mounts: dict[Path, subprocess.Popen[bytes]] = {}

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        return self._answer("POST", path, body)

    def delete(self, path: str, **query: str) -> dict[str, Any]:
        return self._answer("DELETE", path, query)

    def start_mount(self, plan: MountPlan, *, target: Path, mount: str, **_: Any) -> subprocess.Popen[bytes]:
        assert plan == PLAN
        self.mounts[target] = subprocess.Popen(["sleep", "600"])
        return self.mounts[target]

    def mounted(self, target: Path) -> Mounted | None:
        return Mounted(device="0:1", kind="fuse", source="x") if target in self.mounts else None

    def unmount(self, target: Path, *, lazy: bool) -> None:
        assert lazy
        process = self.mounts.pop(target)
        process.kill()
        process.wait()

    def _answer(self, method: str, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((method, path, fields))
        if self.failure is not None:
            raise self.failure
        return {"id": fields.get("id"), "plan": str(self.plan), "socket": "/run/mounts.sock"}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    found = FakeShim(tmp_path)
    monkeypatch.setattr(shim, "AdminClient", lambda *_, **__: found)
    monkeypatch.setattr(shim, "choose", lambda *_, **__: "fuse")
    for name in ("start_mount", "mounted", "unmount"):
        monkeypatch.setattr(shim, name, getattr(found, name))
    yield found
    for target in list(found.mounts):
        found.unmount(target, lazy=True)


@pytest.fixture
def mounter(fake: FakeShim, tmp_path: Path) -> ShimMounter:
    return ShimMounter(tmp_path / "shim", tmp_path / "state")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "state/images/7"
    folder.mkdir(parents=True)
    return folder


def test_a_mount_is_asked_for_and_started_once(fake: FakeShim, mounter: ShimMounter, target: Path) -> None:
    mounter.mount(IMAGE, target)
    (_, path, asked), (_, started, told) = fake.asked
    assert (path, asked["reference"], asked["target"]) == ("mounts", IMAGE.reference, str(target))
    assert (started, told["supervisor"], told["front"]) == ("mounts/started", fake.mounts[target].pid, "fuse")
    assert told["id"] == asked["id"]
    mounter.mount(IMAGE, target)
    assert len(fake.asked) == 2


def test_another_process_finds_the_mount(fake: FakeShim, mounter: ShimMounter, target: Path, tmp_path: Path) -> None:
    mounter.mount(IMAGE, target)
    before = fake.mounts[target]
    again = ShimMounter(tmp_path / "shim", tmp_path / "state")
    again.recover(target)
    again.mount(IMAGE, target)
    assert fake.mounts[target] is before


def test_a_dead_mount_goes_at_start_and_is_made_anew(fake: FakeShim, mounter: ShimMounter, target: Path) -> None:
    mounter.mount(IMAGE, target)
    fake.mounts[target].kill()
    fake.mounts[target].wait()
    mounter.recover(target)
    assert fake.mounts == {}
    mounter.mount(IMAGE, target)
    assert fake.mounts[target].poll() is None


def test_a_number_that_another_process_has_got_is_no_sign_of_life(
    fake: FakeShim, mounter: ShimMounter, target: Path, tmp_path: Path
) -> None:
    mounter.mount(IMAGE, target)
    began = start_time(os.getpid())
    assert began is not None
    (tmp_path / "state/supervisors/7").write_text(f"{os.getpid()} {began - 1}")
    mounter.recover(target)
    assert fake.mounts == {}


def test_unmounting_tells_the_shim_if_it_is_there(fake: FakeShim, mounter: ShimMounter, target: Path) -> None:
    mounter.mount(IMAGE, target)
    fake.failure = WorldError("away")
    mounter.unmount(target)
    assert fake.mounts == {}
    assert fake.asked[-1] == ("DELETE", "mounts", {"target": str(target)})
    mounter.unmount(target)  # nothing is there any more


def test_a_shim_that_does_not_answer_is_not_asked_for_every_layer(fake: FakeShim, mounter: ShimMounter) -> None:
    fake.failure = WorldError("it takes too long")
    for _ in range(60):
        with pytest.raises(WorldError):
            mounter.check(IMAGE, LAYER.digest)
    assert len(fake.asked) == 1


def test_a_no_is_asked_for_again(fake: FakeShim, mounter: ShimMounter) -> None:
    fake.failure = NotFound("no index")
    with pytest.raises(NotFound):
        mounter.check(IMAGE, LAYER.digest)
    fake.failure = None
    mounter.check(IMAGE, LAYER.digest)
    assert len(fake.asked) == 2
