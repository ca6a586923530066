"""Whatever is killed while the kernel asks, readers get the right bytes or an error, and zeros never."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.mounts.erofs import erofs_mount
from tests.e2e.mounts.mounting import Reader
from tests.e2e.mounts.readers import PREAD
from tests.support.folder_door import CHUNK
from tests.support.plans import plan_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root]

CHUNKS = 256
FILES = 8

# MOUNT TRUTH SEED: every page of every file, in an order of its own, by pread, by mappings that are read around and by
# such that are not; says which are wrong.
EVERY_PAGE = """
import mmap, os, random, sys
mount, truth, chance = sys.argv[1], open(sys.argv[2], "rb").read(), random.Random(int(sys.argv[3]))
names = sorted(os.listdir(mount))
size = len(truth) // len(names)
files = [os.open(f"{mount}/{name}", os.O_RDONLY) for name in names]
maps = [mmap.mmap(file, 0, mmap.MAP_SHARED, mmap.PROT_READ) for file in files]
for memory in maps[::2]:
    memory.madvise(mmap.MADV_RANDOM)
wrong = []
pages = [(n, offset) for n in range(len(names)) for offset in range(0, size, 4096)]
for n, offset in chance.sample(pages, len(pages)):
    found = os.pread(files[n], 4096, offset) if chance.random() < 0.5 else maps[n][offset : offset + 4096]
    if found != truth[n * size + offset : n * size + offset + 4096]:
        wrong.append((n, offset, found.count(0)))
print(wrong)
"""


@pytest.mark.parametrize("kills", [25, pytest.param(300, marks=pytest.mark.soak)])
def test_workers_are_killed_while_readers_in_several_namespaces_fault(tmp_path: Path, kills: int) -> None:
    content = random.Random(kills).randbytes(CHUNKS * CHUNK)
    (tmp_path / "truth").write_bytes(content)
    size = len(content) // FILES
    plan = plan_of([len(content)], {f"{n}": (0, n * size, size) for n in range(FILES)})
    # Their patience is longer than it takes until the last chunk is here.
    with erofs_mount(tmp_path, plan, [content], patience=1200) as mount, ExitStack() as stack:
        chance = random.Random(kills)
        readers = [
            Reader(
                EVERY_PAGE, mount.target, tmp_path / "truth", seed, before=["unshare", "--mount"] if seed % 2 else []
            )
            for seed in range(8)
        ]
        for reader in readers:
            stack.callback(reader.end)
        order, killed = chance.sample(range(CHUNKS), CHUNKS), None
        for turn in range(kills):
            for chunk in order[turn * CHUNKS // kills : (turn + 1) * CHUNKS // kills]:
                mount.blobs.arrive(0, chunk)
                time.sleep(chance.choice([0, 0.001, 0.01]))
            # Each of them once. Some are killed before they serve; too many in a row, and it would be given up.
            killed = mount.kill_worker(previous=killed, after=chance.choice([0, 0.1, 0.4, 0.8]))
        assert [reader.result(within=120) for reader in readers] == ["[]\n"] * len(readers)


def test_when_supervisor_and_worker_are_killed_readers_get_errors(tmp_path: Path) -> None:
    content = random.Random(7).randbytes(1 << 20)
    with erofs_mount(tmp_path, plan_of([1 << 20], {"weights": (0, 0, 1 << 20)}), [content]) as mount:
        mount.blobs.arrive(0, 8, 1)
        assert (
            bytes.fromhex(Reader(PREAD, mount.target / "weights", 8 * CHUNK, 10).result()) == content[8 * CHUNK :][:10]
        )
        reader, held = (
            Reader(PREAD, mount.target / "weights", 0, 10),
            Reader(LATER, mount.target / "weights", 3 * CHUNK),
        )
        assert reader.is_waiting()
        assert held.line() == "open"
        worker = mount.worker()
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)  # it must not notice
        mount.supervisor.kill()
        os.kill(worker, signal.SIGKILL)
        assert reader.result() == "EIO\n"
        eventually(lambda: not mount.is_mounted, "nobody new comes in")
        held.say("now")
        assert held.line() == "EIO"
        held.end()


# FILE OFFSET: opens it, and reads when it is told to.
LATER = """
import errno, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
print("open", flush=True)
sys.stdin.readline()
try:
    print(os.pread(file, 10, int(sys.argv[2])).hex(), flush=True)
except OSError as e:
    print(errno.errorcode[e.errno], flush=True)
sys.stdin.readline()
"""
