"""A mounted model: what programs see of it, whatever becomes of its bytes."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelcar.mounts.process.unmounting import unmount
from tests.e2e.mounts.erofs import requires_erofs
from tests.e2e.mounts.mounting import FolderMount, Reader, folder_mount
from tests.e2e.mounts.readers import COMPARE, LIST, MAPPED_BYTE, PREAD
from tests.support.folder_door import CHUNK
from tests.support.plans import plan_of

pytestmark = [pytest.mark.slow, pytest.mark.root]

CONTENT = random.Random(1).randbytes(8 << 20)
FILES = {
    "config.json": (0, 512, 700),
    "weights/one.safetensors": (0, 4096, 3 << 20),
    "weights/two.safetensors": (0, 3_500_032, 4_000_001),
    "weights/empty": (0, 0, 0),
}
LINKS = {"weights/latest": "two.safetensors", "nowhere": "/does/not/exist"}


@pytest.fixture(params=["erofs", "fuse"])
def front(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What every way to the kernel must do is asked of both."""
    name: str = request.param
    if name == "erofs":
        requires_erofs(tmp_path)
    return name


@contextmanager
def model(folder: Path, *, front: str = "fuse", patience: float = 60) -> Iterator[FolderMount]:
    plan = plan_of([len(CONTENT)], FILES, LINKS)
    with folder_mount(folder, plan, [CONTENT], front=front, patience=patience) as mount:
        yield mount


def written(folder: Path) -> Path:
    """The same files on disk."""
    for path, (_, offset, size) in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(CONTENT[offset : offset + size])
    return folder


def listed(mount: Path) -> list[str]:
    return sorted(Reader(LIST, mount).result().splitlines())


def entry(path: str, mode: int, size: int = 0, link: str = "") -> str:
    return ascii((path, oct(mode), size, link))


def test_it_lists_what_the_plan_says_before_any_byte_is_here(tmp_path: Path, front: str) -> None:
    with model(tmp_path, front=front) as mount:
        assert listed(mount.target) == sorted(
            [
                entry("weights", 0o40755),
                *(entry(path, 0o100644, size) for path, (_, _, size) in FILES.items()),
                *(entry(path, 0o120777, len(target), target) for path, target in LINKS.items()),
            ]
        )


def test_every_byte_is_right_however_it_is_read_and_in_whatever_order_it_comes(tmp_path: Path) -> None:
    truth = written(tmp_path / "truth")
    with model(tmp_path) as mount:
        readers = [Reader(COMPARE, mount.target, truth, seed, 150) for seed in range(4)]
        order = random.Random(2).sample(range(len(CONTENT) // CHUNK), len(CONTENT) // CHUNK)
        for chunk in order:
            mount.blobs.arrive(0, chunk)
        assert [reader.result() for reader in readers] == ["same\n"] * 4
        same = subprocess.run(["diff", "-r", truth, mount.target], capture_output=True, timeout=60, text=True)
        assert same.stdout.splitlines() == [
            f"Only in {mount.target}: nowhere",
            f"Only in {mount.target}/weights: latest",
        ]


def test_readers_wait_for_bytes_and_nobody_else_does(tmp_path: Path, front: str) -> None:
    with model(tmp_path, front=front) as mount:
        waiting = Reader(PREAD, mount.target / "weights/one.safetensors", 0, 10)
        mapped = Reader(MAPPED_BYTE, mount.target / "weights/two.safetensors", 4_000_000)
        assert waiting.is_waiting()
        assert mapped.is_waiting()
        mount.blobs.arrive(0, 0, 1)
        config = Reader(PREAD, mount.target / "config.json", 0, 1000)
        assert bytes.fromhex(config.result()) == CONTENT[512:1212]
        assert len(listed(mount.target)) == 7
        assert waiting.is_waiting()
        mount.blobs.arrive_all()
        assert bytes.fromhex(waiting.result()) == CONTENT[4096:4106]
        assert int(mapped.result()) == CONTENT[3_500_032 + 4_000_000]


def test_a_thousand_threads_wait_at_once(tmp_path: Path, front: str) -> None:
    script = """
import os, sys, threading
file, found = os.open(sys.argv[1], os.O_RDONLY), {}
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
def read(n): found[n] = os.pread(file, 16, n * 2500)
threads = [threading.Thread(target=read, args=(n,)) for n in range(1000)]
for t in threads: t.start()
for t in threads: t.join()
print(b"".join(found[n] for n in range(1000)).hex())
"""
    with model(tmp_path) as mount:
        reader = Reader(script, mount.target / "weights/one.safetensors")
        assert reader.is_waiting(1)
        mount.blobs.arrive_all()
        expected = b"".join(CONTENT[4096 + n * 2500 :][:16] for n in range(1000))
        assert bytes.fromhex(reader.result()) == expected


def test_sixteen_threads_fault_in_one_mapping(tmp_path: Path) -> None:
    script = """
import ctypes, mmap, os, sys, threading
file, size = os.open(sys.argv[1], os.O_RDONLY), 3 << 20
libc = ctypes.CDLL(None)  # calls of it let other threads run
libc.mmap.restype, libc.memcpy.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
start, part, copy = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file, 0), size // 16, bytearray(size)
to = ctypes.addressof(ctypes.c_char.from_buffer(copy))
threads = [threading.Thread(target=libc.memcpy, args=(to + n * part, start + n * part, part)) for n in range(16)]
for t in threads: t.start()
for t in threads: t.join()
print(copy == open(sys.argv[2], "rb").read())
"""
    truth = written(tmp_path / "truth")
    with model(tmp_path) as mount:
        name = "weights/one.safetensors"
        reader = Reader(script, mount.target / name, truth / name)
        assert reader.is_waiting(0.5)
        for chunk in reversed(range(len(CONTENT) // CHUNK)):
            mount.blobs.arrive(0, chunk)
        assert reader.result() == "True\n"


READ_AHEAD = """
import ctypes, mmap, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
memory = mmap.mmap(file, 0, mmap.MAP_SHARED, mmap.PROT_READ)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
ctypes.CDLL(None).readahead(file, ctypes.c_long(0), ctypes.c_size_t(1 << 20))
memory.madvise(mmap.MADV_WILLNEED)
memory.madvise(mmap.MADV_SEQUENTIAL)
print("asked", flush=True)
sys.stdin.readline()
print(memory[:] == os.pread(file, 4 << 20, 0) == open(sys.argv[2], "rb").read())
"""


@pytest.mark.parametrize("comes", ["before", "after", "after a failure"])
def test_what_was_read_ahead_and_not_waited_for_is_right(tmp_path: Path, comes: str) -> None:
    truth = written(tmp_path / "truth")
    name = "weights/one.safetensors"
    with model(tmp_path) as mount, Reader(READ_AHEAD, mount.target / name, truth / name) as reader:
        assert reader.line() == "asked"
        if comes == "after a failure":
            mount.blobs.fail(0, errno.EIO)
            time.sleep(0.3)
            mount.blobs.fail(0, 0)
        if comes == "before":
            mount.blobs.arrive_all()
        reader.say("read")
        if comes != "before":
            assert reader.is_waiting()
            mount.blobs.arrive_all()
        assert reader.result() == "True\n"


def test_a_failure_is_an_error_for_who_waits_and_not_for_ever(tmp_path: Path, front: str) -> None:
    with model(tmp_path, front=front) as mount:
        file = mount.target / "weights/one.safetensors"
        mount.blobs.fail(0, errno.EIO)
        assert Reader(PREAD, file, 0, 10).result() == "EIO\n"
        mapped = Reader(MAPPED_BYTE, file, 4096)
        with mapped:
            mapped.wait(10)
            assert mapped.status == -signal.SIGBUS
        mount.blobs.fail(0, 0)
        mount.blobs.arrive_all()
        assert bytes.fromhex(Reader(PREAD, file, 0, 10).result()) == CONTENT[4096:4106]
        assert int(Reader(MAPPED_BYTE, file, 4096).result()) == CONTENT[8192]


def test_patience_ends(tmp_path: Path, front: str) -> None:
    with model(tmp_path, front=front, patience=1) as mount:
        start = time.monotonic()
        reader = Reader(PREAD, mount.target / "weights/one.safetensors", 0, 10)
        assert reader.result(within=30) == "EIO\n"
        assert time.monotonic() - start >= 1


REVOKED = """
import mmap, os, signal, sys
file = os.open(sys.argv[1], os.O_RDONLY)
memory = mmap.mmap(file, 0, mmap.MAP_SHARED, mmap.PROT_READ)
print(memory[:8].hex(), os.pread(file, 8, 0).hex(), flush=True)
sys.stdin.readline()
try:
    print(os.pread(file, 8, 0).hex(), flush=True)
except OSError as e:
    print(e.errno, flush=True)
print(memory[0], flush=True)
"""


def test_a_revoked_blob_is_gone_from_the_cache_and_from_mappings(tmp_path: Path) -> None:
    with model(tmp_path) as mount:
        mount.blobs.arrive_all()
        file = mount.target / "weights/one.safetensors"
        before = CONTENT[4096:4104].hex()
        with Reader(REVOKED, file) as reader:
            assert reader.line() == f"{before} {before}"
            mount.blobs.revoke(0, errno.EIO)
            eventually_gone(file)
            reader.say("go on")
            assert reader.line() == str(errno.EIO)
            reader.wait(10)
            assert reader.status == -signal.SIGBUS


def eventually_gone(file: Path) -> None:
    deadline = time.monotonic() + 20
    while Reader(PREAD, file, 0, 8).result() != "EIO\n":
        assert time.monotonic() < deadline, "it can still be read"


def test_what_was_read_once_is_kept_when_the_file_is_closed(tmp_path: Path, front: str) -> None:
    with model(tmp_path, front=front) as mount:
        mount.blobs.arrive_all()
        file = mount.target / "weights/one.safetensors"
        first = Reader(PREAD, file, 0, 3 << 20).result()
        worker = mount.worker()
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)
        try:
            assert Reader(PREAD, file, 0, 3 << 20).result(within=20) == first
        finally:
            os.kill(worker, signal.SIGCONT)


@pytest.mark.parametrize("script", [PREAD, MAPPED_BYTE])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_reader_that_waits_can_be_ended(tmp_path: Path, front: str, script: str, number: signal.Signals) -> None:
    with (
        model(tmp_path, front=front) as mount,
        Reader(script, mount.target / "weights/one.safetensors", 40960, 4096) as reader,
    ):
        assert reader.is_waiting(0.5)
        os.kill(reader.pid, number)
        reader.wait(10)
        assert reader.status == -number


def test_a_signal_that_a_program_handles_does_not_break_its_page_fault(tmp_path: Path, front: str) -> None:
    alarms = "import signal; signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(0, 0.05, 0.05)"
    no_more = "signal.setitimer(0, 0)"  # Python handles them no longer when it ends
    with model(tmp_path, front=front) as mount:
        reader = Reader(alarms + MAPPED_BYTE + no_more, mount.target / "weights/one.safetensors", 40960)
        assert reader.is_waiting(1)
        mount.blobs.arrive_all()
        assert int(reader.result()) == CONTENT[4096 + 40960]


def test_nothing_can_be_written(tmp_path: Path, front: str) -> None:
    script = """
import errno, os, sys
for attempt in (
    lambda: os.open(sys.argv[1] + "/config.json", os.O_WRONLY),
    lambda: os.open(sys.argv[1] + "/new", os.O_CREAT | os.O_WRONLY),
    lambda: os.mkdir(sys.argv[1] + "/folder"),
    lambda: os.unlink(sys.argv[1] + "/config.json"),
    lambda: os.chmod(sys.argv[1] + "/config.json", 0),
    lambda: os.rename(sys.argv[1] + "/config.json", sys.argv[1] + "/other"),
):
    try:
        attempt()
    except OSError as e:
        print(errno.errorcode[e.errno])
"""
    with model(tmp_path, front=front) as mount:
        assert Reader(script, mount.target).result().split() == ["EROFS"] * 6


def test_unmounting_while_readers_wait_serves_them_to_the_end(tmp_path: Path, front: str) -> None:
    with model(tmp_path, front=front) as mount:
        reader = Reader(PREAD, mount.target / "weights/one.safetensors", 0, 10)
        assert reader.is_waiting()
        mount.supervisor.terminate()
        while mount.is_mounted:
            time.sleep(0.02)
        assert reader.is_waiting()
        assert mount.supervisor.poll() is None
        mount.blobs.arrive_all()
        assert bytes.fromhex(reader.result()) == CONTENT[4096:4106]
        assert mount.supervisor.wait(timeout=20) == 0


def test_unmounting_by_other_means_ends_all_processes(tmp_path: Path, front: str) -> None:
    with model(tmp_path, front=front) as mount:
        worker = mount.worker()
        unmount(mount.target)
        assert mount.supervisor.wait(timeout=20) == 0
        assert not Path(f"/proc/{worker}").exists()
        assert mount.log.read_text() == ""


def test_it_can_be_read_from_another_mount_namespace(tmp_path: Path) -> None:
    truth = written(tmp_path / "truth")
    with model(tmp_path) as mount:
        threading.Timer(0.5, mount.blobs.arrive_all).start()
        reader = Reader(COMPARE, mount.target, truth, 5, 100, before=["unshare", "--mount", "--propagation", "private"])
        assert reader.result() == "same\n"


def test_strange_names_deep_folders_and_many_files(tmp_path: Path) -> None:
    strange = ["n" * 255, "a b", "line\nbreak", "\u00fc\u4e2d\U0001f600", "-rf", "*", "'\"\\", "tab\there", "%41"]
    deep = "/".join(f"folder-{n}" for n in range(60))
    files = {
        **{f"strange/{name}": (0, 10 * n, 10) for n, name in enumerate(strange)},
        f"{deep}/weights": (0, 0, 5),
        **{f"many/{n:05}": (0, n, 3) for n in range(10_000)},
    }
    content = random.Random(3).randbytes(20_000)
    truth = tmp_path / "truth"
    for path, (_, offset, size) in files.items():
        if not path.startswith("many/"):
            (truth / path).parent.mkdir(parents=True, exist_ok=True)
            (truth / path).write_bytes(content[offset : offset + size])
    with folder_mount(tmp_path, plan_of([len(content)], files), [content]) as mount:
        mount.blobs.arrive_all()
        folders = 2 + 60
        assert len(listed(mount.target)) == len(files) + folders
        assert Reader(COMPARE, mount.target, truth, 1, 100).result() == "same\n"
        middle = Reader(PREAD, mount.target / "many/05000", 0, 10).result()
        assert bytes.fromhex(middle) == content[5000:5003]


def test_a_file_beyond_four_gib(tmp_path: Path) -> None:
    size = (5 << 30) + 12345
    with folder_mount(tmp_path, plan_of([size], {"large": (0, 0, size)}), [size]) as mount:
        with open(mount.blobs.folder / "blob-0", "r+b") as blob:
            os.pwrite(blob.fileno(), b"the end", size - 7)
            os.pwrite(blob.fileno(), b"beyond", 1 << 32)
        mount.blobs.arrive_all()
        assert bytes.fromhex(Reader(PREAD, mount.target / "large", size - 7, 100).result()) == b"the end"
        assert bytes.fromhex(Reader(PREAD, mount.target / "large", 1 << 32, 6).result()) == b"beyond"
        assert bytes.fromhex(Reader(PREAD, mount.target / "large", (1 << 32) - 5, 5).result()) == bytes(5)
        assert chr(int(Reader(MAPPED_BYTE, mount.target / "large", size - 1).result())) == "d"
