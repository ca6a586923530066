"""Whatever is killed, a reader gets the right bytes or an error, and nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from modelcar.errors import NotFound
from modelcar.mounts import libc
from modelcar.mounts.process.unmounting import mounted, unmount
from tests.e2e.mounts.mounting import Reader, folder_mount
from tests.e2e.mounts.readers import PREAD
from tests.support.folder_door import CHUNK
from tests.support.plans import plan_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root]

FILES = 4000

# MOUNT TRUTH SEED: reads all files in an order of its own, and says which are wrong.
READ_ALL = """
import mmap, os, random, sys
mount, seed = sys.argv[1], int(sys.argv[3])
truth = open(sys.argv[2], "rb").read()
wrong, count = [], len(truth) // 4096
for n in random.Random(seed).sample(range(count), count):
    file = os.open(f"{mount}/{n:05}", os.O_RDONLY)
    if (n + seed) % 2:
        found = os.pread(file, 10000, 0)
    else:
        with mmap.mmap(file, 0, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
            found = memory[:]
    os.close(file)
    if found != truth[n * 4096 : n * 4096 + 4096]:
        wrong.append(n)
print(wrong)
"""


@pytest.mark.parametrize("kills", [30, pytest.param(200, marks=pytest.mark.soak)])
def test_workers_are_killed_while_twenty_readers_fault(tmp_path: Path, kills: int) -> None:
    content = random.Random(4).randbytes(FILES * CHUNK)
    (tmp_path / "truth").write_bytes(content)
    plan = plan_of([len(content)], {f"{n:05}": (0, n * CHUNK, CHUNK) for n in range(FILES)})
    with folder_mount(tmp_path, plan, [content]) as mount, ExitStack() as stack:
        chance = random.Random(kills)
        readers = [Reader(READ_ALL, mount.target, tmp_path / "truth", seed) for seed in range(20)]
        for reader in readers:
            stack.callback(reader.end)
        order, killed = chance.sample(range(FILES), FILES), None
        for turn in range(kills):
            for chunk in order[turn * FILES // kills : (turn + 1) * FILES // kills]:
                mount.blobs.arrive(0, chunk)
                if chance.random() < 0.1:
                    time.sleep(0.001)
            # Some are killed before they serve; too many in a row, and it would be given up.
            killed = mount.kill_worker(previous=killed, after=chance.choice([0, 0.1, 0.4, 0.8]))
        assert [reader.result(within=300) for reader in readers] == ["[]\n"] * 20


def test_when_all_are_killed_readers_get_an_error_and_the_mount_can_be_taken_down(tmp_path: Path) -> None:
    with folder_mount(tmp_path, plan_of([1 << 20], {"weights": (0, 0, 1 << 20)}), [1 << 20]) as mount:
        reader = Reader(PREAD, mount.target / "weights", 0, 10)
        assert reader.is_waiting()
        worker = mount.worker()
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)  # it must not notice
        mount.supervisor.kill()
        os.kill(worker, signal.SIGKILL)
        assert reader.result() in ("ECONNABORTED\n", "ENOTCONN\n", "EIO\n")
        assert mount.is_mounted
        assert Reader(PREAD, mount.target / "weights", 0, 10).result() == "ENOTCONN\n"
        unmount(mount.target)
        assert mounted(mount.target) is None
        with pytest.raises(NotFound, match="nothing is mounted there"):
            unmount(mount.target)


def test_a_connection_that_an_administrator_breaks_ends_the_mount(tmp_path: Path) -> None:
    with folder_mount(tmp_path, plan_of([10], {"weights": (0, 0, 10)}), [10]) as mount:
        reader = Reader(PREAD, mount.target / "weights", 0, 10)
        assert reader.is_waiting()
        with suppress(OSError):  # it is in use; the connection ends all the same
            libc.umount(mount.target, libc.MNT_FORCE)
        assert reader.result() in ("ECONNABORTED\n", "ENOTCONN\n", "EIO\n")
        assert mount.supervisor.wait(timeout=20) == 0
        assert not mount.is_mounted


def test_a_worker_that_was_taken_down_by_the_supervisor_leaves_no_process(tmp_path: Path) -> None:
    with folder_mount(tmp_path, plan_of([10], {"weights": (0, 0, 10)}), [10]) as mount:
        killed = mount.kill_worker()
        eventually(lambda: mount.worker() not in (None, killed), "the next one is there")
        worker = mount.worker()
        mount.supervisor.terminate()
        assert mount.supervisor.wait(timeout=20) == 0
        assert not Path(f"/proc/{worker}").exists()
