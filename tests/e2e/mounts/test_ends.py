"""Processes around a mount end, by either way to the kernel: readers are answered, and nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from modelcar.mounts.process.unmounting import unmount
from tests.e2e.mounts.erofs import erofs_mount
from tests.e2e.mounts.mounting import FolderMount, Reader, folder_mount
from tests.e2e.mounts.readers import PREAD
from tests.support.plans import plan_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root]

Mounting = Callable[..., AbstractContextManager[FolderMount]]
SIZE = 1 << 20
PLAN = plan_of([SIZE], {"weights": (0, 0, SIZE)})


@pytest.fixture(params=["fuse", "erofs"])
def mounting(request: pytest.FixtureRequest) -> Mounting:
    return erofs_mount if request.param == "erofs" else folder_mount


def test_what_a_killed_worker_was_asked_is_answered_by_the_next(tmp_path: Path, mounting: Mounting) -> None:
    content = random.Random(5).randbytes(SIZE)
    with mounting(tmp_path, PLAN, [content]) as mount:
        reader = Reader(PREAD, mount.target / "weights", 70_000, 10)
        assert reader.is_waiting()
        killed = None
        for _ in range(3):
            killed = mount.kill_worker(previous=killed)
            assert reader.is_waiting(0.5)
        mount.blobs.arrive_all()
        assert bytes.fromhex(reader.result()) == content[70_000:70_010]


def test_what_a_stopped_worker_was_asked_is_answered_by_the_next(tmp_path: Path, mounting: Mounting) -> None:
    content = random.Random(7).randbytes(SIZE)
    with mounting(tmp_path, PLAN, [content], stall=1.0) as mount:
        early = Reader(PREAD, mount.target / "weights", 70_000, 10)
        assert early.is_waiting()
        stopped = mount.worker()
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        late = Reader(PREAD, mount.target / "weights", 900_000, 10)  # which it never hears of
        mount.blobs.arrive_all()
        assert bytes.fromhex(early.result()) == content[70_000:70_010]
        assert bytes.fromhex(late.result()) == content[900_000:900_010]
        eventually(lambda: not Path(f"/proc/{stopped}").exists(), "it is gone")
        assert "gives no sign of life" in mount.log.read_text()


def test_a_worker_that_gets_nowhere_is_replaced(tmp_path: Path, mounting: Mounting) -> None:
    content = random.Random(8).randbytes(SIZE)
    with mounting(tmp_path, PLAN, [content], stall=1.0) as mount:
        first = mount.worker()
        mount.blobs.block(0, stuck=True)
        reader = Reader(PREAD, mount.target / "weights", 70_000, 10)
        eventually(lambda: mount.worker() not in (first, None), "the next one begins")
        second = mount.worker()
        eventually(lambda: mount.worker() not in (second, None), "it is asked the same, and gets nowhere either")
        mount.blobs.block(0, stuck=False)
        mount.blobs.arrive_all()
        assert bytes.fromhex(reader.result()) == content[70_000:70_010]
        assert "got nowhere for 1 s" in mount.log.read_text()


def test_a_worker_that_only_waits_for_bytes_is_left_alone(tmp_path: Path, mounting: Mounting) -> None:
    content = random.Random(9).randbytes(SIZE)
    with mounting(tmp_path, PLAN, [content], stall=3.0, patience=1.0) as mount:
        worker = mount.worker()
        for turn in range(6):  # each waits for its whole patience, and gets an error
            assert Reader(PREAD, mount.target / "weights", turn * 150_000, 10).result() == "EIO\n"
        mount.blobs.arrive_all()
        assert bytes.fromhex(Reader(PREAD, mount.target / "weights", 0, 10).result()) == content[:10]
        assert mount.worker() == worker, mount.log.read_text()


def test_without_a_supervisor_the_mount_ends_with_its_last_user(tmp_path: Path, mounting: Mounting) -> None:
    content = random.Random(6).randbytes(SIZE)
    with mounting(tmp_path, PLAN, [content]) as mount:
        reader = Reader(PREAD, mount.target / "weights", 0, 10)
        assert reader.is_waiting()
        worker = mount.worker()
        mount.supervisor.kill()
        eventually(lambda: not mount.is_mounted, "nobody new comes in")
        assert reader.is_waiting()
        mount.blobs.arrive_all()
        assert bytes.fromhex(reader.result()) == content[:10]
        eventually(lambda: not Path(f"/proc/{worker}").exists(), "the worker ends")


def test_a_mount_that_ends_while_host_and_worker_are_gone_leaves_no_process(tmp_path: Path, mounting: Mounting) -> None:
    with mounting(tmp_path, plan_of([4096], {"weights": (0, 0, 4096)}), [4096]) as mount:
        eventually(lambda: mount.worker() is not None, "there is a worker")
        mount.blobs.folder.rename(tmp_path / "elsewhere")
        mount.kill_worker()
        unmount(mount.target, lazy=True)
        assert mount.supervisor.wait(timeout=30) == 0
