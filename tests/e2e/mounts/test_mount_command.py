"""`modelcar mount`, `status` and `umount` from a registry to the files that a program reads, and back to nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from modelcar.mounts.keeping import find_mount
from modelcar.mounts.process.unmounting import mounted
from tests.e2e.conftest import Published
from tests.e2e.mounts.mounting import Reader
from tests.e2e.mounts.readers import COMPARE, PREAD
from tests.e2e.mounts.users import SAME, User, same, through
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.mounts import tmpfs
from tests.e2e.support.relay import Relay
from tests.support.checkpoints import files_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root]


def test_a_mounted_model_is_the_checkpoint_and_leaves_nothing_behind(user: User, model: Published) -> None:
    answer = user.mount(model.ref)
    assert answer["digest"] == model.digest
    assert answer["front"] == user.front
    same(user, model)
    if user.front == "fuse":  # EROFS does not read past the cache
        assert Reader(COMPARE, user.mounts / "llm", model.folder, 1, 100).result().strip() == "same"
    eventually(user.is_whole, "all of it comes")
    status = user.status()
    assert status["tensors"]["present"] == status["tensors"]["count"] > 0
    assert {f["path"] for f in status["files"]} == set(files_of(model.folder))
    ranks = user.modelcar("status", user.mounts / "llm", "--tp", "2")["ranks"]
    assert [rank["rank"] for rank in ranks] == [0, 1]
    assert all(rank["present"] == rank["size"] > 0 for rank in ranks)
    user.umount()
    assert mounted(user.mounts / "llm") is None
    assert list((user.root / "mounts").iterdir()) == []
    os.kill(user.keeper, signal.SIGTERM)
    eventually(lambda: not user.processes(), "every process has ended", within=20)


def test_a_second_mount_costs_nothing_upstream(user: User, model: Published, relay: Relay) -> None:
    user.mount(through(relay, model))
    same(user, model)
    eventually(user.is_whole, "all of it comes")
    before = relay.passed
    user.mount(through(relay, model), "again")
    same(user, model, "again")
    assert relay.passed - before < 20_000, "more than the documents of the image"
    user.umount()
    same(user, model, "again")
    user.umount("again")


def test_a_keeper_that_is_killed_is_missed_by_nobody(user: User, large: Published, relay: Relay) -> None:
    relay.rate = 10e6
    user.mount(through(relay, large))
    with Reader(SAME, user.mounts / "llm", large.folder) as reader:
        assert reader.is_waiting(0.3)
        os.kill(user.keeper, signal.SIGKILL)
        assert reader.result(120).strip() == "same"
    assert user.status()["trouble"] is None
    user.umount()


def test_readers_wait_while_the_registry_is_away(user: User, large: Published, relay: Relay) -> None:
    relay.rate = 20e6
    user.mount(through(relay, large))
    relay.cut()
    with Reader(SAME, user.mounts / "llm", large.folder) as reader:
        assert reader.is_waiting(8)
        relay.mend()
        assert reader.result(120).strip() == "same"
    user.umount()


def test_wrong_bytes_are_errors(user: User, large: Published, relay: Relay) -> None:
    relay.rate = 5e6
    user.mount(through(relay, large))
    relay.lies, relay.rate = True, None
    weights = max(large.folder.glob("*.safetensors"))
    truth = weights.read_bytes()
    found = [
        Reader(PREAD, user.mounts / "llm" / weights.name, offset, 4096).result(150).strip()
        for offset in (0, 10_000_000, len(truth) - 4096)
    ]
    right = [truth[offset : offset + 4096].hex() for offset in (0, 10_000_000, len(truth) - 4096)]
    assert all(here in ("EIO", there) for here, there in zip(found, right, strict=True))
    assert "EIO" in found
    user.umount()


def test_a_mount_is_taken_down_while_readers_wait(user: User, large: Published, relay: Relay) -> None:
    relay.rate = 1e6
    user.mount(through(relay, large))
    with Reader(SAME, user.mounts / "llm", large.folder) as reader:
        assert reader.is_waiting(0.3)
        done = user.modelcar.run("umount", user.mounts / "llm")
        assert done.returncode == 3
        assert "in use" in done.stderr
        user.modelcar("umount", user.mounts / "llm", "--lazy")
        assert mounted(user.mounts / "llm") is None
    eventually(lambda: not [p for p in user.processes() if "keeper" not in p], "its processes end", within=60)


def test_killed_processes_leave_a_mount_that_can_be_taken_down(user: User, model: Published) -> None:
    user.mount(model.ref)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(user.folder).encode() in path.read_bytes() and b"pytest" not in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)
    user.umount()
    assert mounted(user.mounts / "llm") is None
    user.mount(model.ref)
    same(user, model)
    user.umount()


def test_where_a_model_can_be_mounted_from(fuse_user: User, model: Published, modelcar: Modelcar) -> None:
    user = fuse_user
    layout, archive = user.folder / "layout", user.folder / "archive.tar"
    modelcar("export", model.ref, "-o", layout)
    modelcar("archive", model.ref, "-o", archive)
    user.modelcar("pull", model.ref)
    for name, ref in {"l": f"oci:{layout}", "a": f"oci-archive:{archive}", "s": model.ref}.items():
        user.mount(ref, name)
        same(user, model, name)
        user.umount(name)


def test_a_disk_that_is_too_small_is_said_before_anything_is_mounted(fuse_user: User, large: Published) -> None:
    user = fuse_user
    with tmpfs(user.folder / "home", 10_000_000):
        complaint = user.modelcar.refusal(3, "mount", large.ref, user.mounts / "llm", "--kernel-mount", "fuse")
        assert "room" in complaint
        assert mounted(user.mounts / "llm") is None
        assert not (user.mounts / "llm").exists()
        os.kill(user.keeper, signal.SIGTERM)
        eventually(lambda: not user.processes(), "the keeper ends", within=20)


def test_a_budget_lets_go_of_what_is_not_mounted(fuse_user: User, large: Published, model: Published) -> None:
    user, budget = fuse_user, "47MiB"
    user.mount(model.ref, "small")
    eventually(lambda: user.is_whole("small"), "all of it comes")
    user.umount("small")
    kept = {path.name for path in user.root.glob("blobs/*/*")}
    user.mount(large.ref, "llm", "--budget", budget)
    eventually(user.is_whole, "all of it comes")
    assert kept - {path.name for path in user.root.glob("blobs/*/*")}, "what nobody uses made room"
    assert sum(path.stat().st_size for path in user.root.glob("blobs/*/*")) <= 47 << 20
    place = user.mounts / "small"
    complaint = user.modelcar.refusal(3, "mount", model.ref, place, "--kernel-mount", "fuse", "--budget", budget)
    assert "budget" in complaint
    same(user, large)
    user.umount()


def test_nothing_is_shown_of_what_is_not_verified(fuse_user: User, model: Published) -> None:
    user = fuse_user
    user.modelcar("keygen", "-o", user.folder / "stranger")
    [public] = user.folder.glob("stranger*.pub")
    complaint = user.modelcar.run("mount", model.ref, user.mounts / "llm", "--key", public, "--kernel-mount", "fuse")
    assert complaint.returncode == 1, complaint.stderr
    assert mounted(user.mounts / "llm") is None
    assert not (user.mounts / "llm").exists()


@pytest.mark.parametrize(
    ("prepare", "complaint"),
    [
        (lambda folder: (folder / "file").write_text("x"), "not empty"),
        (lambda folder: (folder.rmdir(), folder.write_text("x")), "cannot mount at"),
    ],
)
def test_where_nothing_can_be_mounted(
    fuse_user: User, model: Published, prepare: Callable[[Path], object], complaint: str
) -> None:
    folder = fuse_user.mounts / "llm"
    folder.mkdir()
    prepare(folder)
    assert complaint in fuse_user.modelcar.refusal(2, "mount", model.ref, folder)


def test_what_is_not_mounted_is_said(fuse_user: User, model: Published) -> None:
    user = fuse_user
    assert "is not a mounted model" in user.modelcar.refusal(2, "umount", user.mounts)
    assert "is not a mounted model" in user.modelcar.refusal(2, "status", user.mounts)
    assert user.modelcar("status") == {"mounts": []}
    user.mount(model.ref)
    listed = user.modelcar("status")["mounts"]
    assert [(m["folder"], m["name"]) for m in listed] == [(str(user.mounts / "llm"), model.ref)]
    assert "already" in user.modelcar.refusal(2, "mount", model.ref, user.mounts / "llm")
    user.umount()


def test_a_mount_at_a_link_is_found_by_either_name(user: User, model: Published) -> None:
    (user.mounts / "real").mkdir()
    (user.mounts / "link").symlink_to("real")
    for name in ("link", "real"):
        user.mount(model.ref, "link")
        assert user.status(name)["target"] == str(user.mounts / "real")
        user.umount(name)
        assert mounted(user.mounts / "real") is None


def test_a_mount_that_was_killed_is_not_called_ready(user: User, model: Published) -> None:
    user.mount(model.ref)
    record = find_mount(user.root, user.mounts / "llm")
    assert record is not None
    assert record.supervisor is not None
    os.kill(record.supervisor[0], signal.SIGKILL)
    eventually(lambda: mounted(user.mounts / "llm") is None, "nobody new comes in")
    assert "not mounted any more" in user.modelcar.refusal(3, "status", user.mounts / "llm")
    user.umount()
    user.mount(model.ref)
    same(user, model)
    user.umount()


def test_of_those_who_mount_at_one_folder_at_once_one_does(fuse_user: User, model: Published) -> None:
    user = fuse_user
    commands = [user.modelcar.start("mount", model.ref, user.mounts / "llm") for _ in range(4)]
    said = [command.communicate(timeout=120)[1] for command in commands]
    assert sorted(command.returncode for command in commands) == [0, 2, 2, 2], said
    assert Path("/proc/self/mounts").read_text().count(str(user.mounts / "llm")) == 1
    same(user, model)
    user.umount()


def test_a_mount_of_another_home_is_left_to_whom_it_belongs(user: User, model: Published) -> None:
    user.mount(model.ref)
    other = Modelcar(user.folder / "other")
    if user.front == "erofs":  # FUSE says in its name that it is ours
        assert "with this MODELCAR_HOME" in other.refusal(2, "umount", user.mounts / "llm")
    assert "already" in other.refusal(2, "mount", model.ref, user.mounts / "llm")
    same(user, model)
    user.umount()


def test_in_the_foreground_a_mount_ends_with_the_command(fuse_user: User, model: Published) -> None:
    user = fuse_user
    command = user.modelcar.start("mount", model.ref, user.mounts / "llm", "--foreground")
    try:
        eventually(lambda: mounted(user.mounts / "llm") is not None, "it is mounted", within=30)
        same(user, model)
        command.send_signal(signal.SIGINT)
        assert command.wait(timeout=30) == 130
        assert mounted(user.mounts / "llm") is None
        assert list((user.root / "mounts").iterdir()) == []
    finally:
        command.kill()
        command.communicate()
