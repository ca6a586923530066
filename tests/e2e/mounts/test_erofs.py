"""What only the kernel-native mount has to prove: each trap of EROFS over sparse files that ask."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import signal
import tarfile
from pathlib import Path

import pytest

from modelcar.errors import StorageError
from modelcar.mounts.erofs import support
from modelcar.mounts.plan import MountPlan
from tests.e2e.mounts.erofs import erofs_mount, requires_erofs, root_program
from tests.e2e.mounts.mounting import FolderMount, Reader
from tests.e2e.mounts.readers import MAPPED_BYTE, PREAD
from tests.e2e.support.commands import run
from tests.support.folder_door import CHUNK
from tests.support.plans import plan_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root]

MIB = 1 << 20
MEMORY = Path("/dev/shm")  # noqa: S108  # a file system that cannot ask
CONTENT = random.Random(1).randbytes(4 * MIB)
PLAN = plan_of([len(CONTENT)], {"a": (0, 4096, 2 * MIB + 5), "folder/b": (0, 3 * MIB, MIB - 1000)})

# FILE: the whole of it, as hexadecimal of its hash.
HASH = "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def erofs_mounts() -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - erofs " in line]


def freeze(mount: FolderMount) -> None:
    """From now on nobody answers the kernel."""
    worker = mount.worker()
    assert worker is not None
    os.kill(worker, signal.SIGSTOP)


def thaw(mount: FolderMount) -> None:
    worker = mount.worker()
    assert worker is not None
    os.kill(worker, signal.SIGCONT)


def test_a_whole_blob_is_read_without_us(tmp_path: Path) -> None:
    with erofs_mount(tmp_path, PLAN, [CONTENT]) as mount:
        mount.blobs.arrive(0, 0, 1)
        freeze(mount)
        waiting = Reader(HASH, mount.target / "a")
        assert waiting.is_waiting()
        thaw(mount)
        mount.blobs.arrive_all()
        assert waiting.result().strip() == sha256(CONTENT[4096 : 4096 + 2 * MIB + 5])

        def read_without_us() -> bool:
            freeze(mount)
            reader = Reader(HASH, mount.target / "folder/b")
            came = not reader.is_waiting(1)
            thaw(mount)
            assert reader.result().strip() == sha256(CONTENT[3 * MIB : 4 * MIB - 1000])
            return came

        eventually(read_without_us, "the kernel asks no more")


def test_who_else_uses_the_blobs_is_neither_asked_nor_made_to_wait(tmp_path: Path) -> None:
    """The host reads and writes by descriptors of any age, others look: nothing of it is a reader of the mount."""
    with erofs_mount(tmp_path, PLAN, [CONTENT]) as mount:
        freeze(mount)
        blob = mount.blobs.folder / "blob-0"
        assert Reader(HASH, blob).result(within=20).strip() == sha256(bytes(len(CONTENT)))
        resident = run("fincore", "--noheadings", "--bytes", "--output", "RES", blob).stdout
        assert int(resident) <= len(CONTENT)
        Reader("import sys; open(sys.argv[1], 'r+b').write(b'x')", blob).result(within=20)
        thaw(mount)


def test_without_direct_reads_there_is_an_error_and_not_zeros(tmp_path: Path) -> None:
    script = """
import os, sys
try:
    print(os.read(os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT), 4096).hex())
except OSError as e:
    print(e.errno)
"""
    with erofs_mount(tmp_path, PLAN, [CONTENT]) as mount:
        reader = Reader(script, mount.target / "a")
        if reader.is_waiting(1):
            mount.blobs.arrive_all()
        assert reader.result().strip() in (str(errno.EINVAL), CONTENT[4096:8192].hex())


def test_readers_hear_of_failures_and_read_on_when_they_are_over(tmp_path: Path) -> None:
    with erofs_mount(tmp_path, PLAN, [CONTENT]) as mount:
        mount.blobs.fail(0, errno.EIO)
        assert Reader(PREAD, mount.target / "a", 0, 10).result() == "EIO\n"
        with Reader(MAPPED_BYTE, mount.target / "a", MIB) as mapped:
            mapped.wait(10)
            assert mapped.status == -signal.SIGBUS
        mount.blobs.fail(0, 0)
        mount.blobs.arrive_all()
        assert bytes.fromhex(Reader(PREAD, mount.target / "a", 0, 10).result()) == CONTENT[4096:4106]
        assert int(Reader(MAPPED_BYTE, mount.target / "a", MIB).result()) == CONTENT[4096 + MIB]


def test_a_revoked_blob_is_an_error_even_where_it_was_read_before(tmp_path: Path) -> None:
    with erofs_mount(tmp_path, PLAN, [CONTENT]) as mount:
        mount.blobs.arrive_all()
        assert Reader(HASH, mount.target / "a").result().strip() == sha256(CONTENT[4096 : 4096 + 2 * MIB + 5])
        mount.blobs.revoke(0, errno.EIO)
        eventually(lambda: Reader(PREAD, mount.target / "a", MIB, 10).result() == "EIO\n", "what was cached is gone")
        assert Reader(PREAD, mount.target / "a", 0, 10).result() == "EIO\n"
        assert Reader(PREAD, mount.target / "folder/b", 0, 10).result() == "EIO\n"


def test_killed_readers_leave_nothing_behind(tmp_path: Path) -> None:
    with erofs_mount(tmp_path, PLAN, [CONTENT]) as mount:
        for _ in range(20):
            reader = Reader(PREAD, mount.target / "a", MIB, 10)
            assert reader.is_waiting(0.05)
            reader.end()
        mount.blobs.arrive_all()
        assert bytes.fromhex(Reader(PREAD, mount.target / "a", MIB, 10).result()) == CONTENT[4096 + MIB :][:10]


# FILE HINT: asks for all of it by a hint, reads it when it is told to, and says its hash.
HINTED = """
import ctypes, hashlib, mmap, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(file).st_size
memory = mmap.mmap(file, 0, mmap.MAP_SHARED, mmap.PROT_READ)
libc = ctypes.CDLL(None)
print("here", flush=True)
try:
    if sys.argv[2] == "fadvise":
        os.posix_fadvise(file, 0, size, os.POSIX_FADV_WILLNEED)
    elif sys.argv[2] == "readahead":
        libc.readahead(file, ctypes.c_int64(0), ctypes.c_size_t(size))
    else:
        memory.madvise({"willneed": mmap.MADV_WILLNEED, "populate": 22}[sys.argv[2]])
except OSError as e:
    print(e, file=sys.stderr)
print("hinted", flush=True)
sys.stdin.readline()
print(hashlib.sha256(memory[:]).hexdigest(), hashlib.sha256(os.pread(file, size, 0)).hexdigest())
"""


@pytest.mark.parametrize("hint", ["fadvise", "readahead", "willneed", "populate"])
@pytest.mark.parametrize("failing", [False, True])
def test_a_hint_about_what_is_not_here_brings_no_zeros(tmp_path: Path, hint: str, *, failing: bool) -> None:
    """Whether it waits, or is denied and forgotten."""
    with erofs_mount(tmp_path, PLAN, [CONTENT]) as mount:
        mount.blobs.fail(0, errno.EIO if failing else 0)
        with Reader(HINTED, mount.target / "a", hint) as reader:
            assert reader.line() == "here"
            reader.is_waiting(0.5)
            mount.blobs.fail(0, 0)
            mount.blobs.arrive_all()
            assert reader.line() == "hinted"
            reader.say("read")
            assert reader.line().split() == [sha256(CONTENT[4096 : 4096 + 2 * MIB + 5])] * 2


def test_memory_holds_what_was_read_once(tmp_path: Path) -> None:
    def resident(path: Path) -> int:
        return int(Reader(RESIDENT, path).result())

    half = 16 * MIB
    content = random.Random(9).randbytes(2 * half + MIB)
    plan = plan_of([len(content)], {"read": (0, 0, half), "unread": (0, half, half)})
    with erofs_mount(tmp_path, plan, [content]) as mount:
        mount.blobs.arrive_all()
        blob = mount.blobs.folder / "blob-0"
        assert resident(blob) >= 2 * half
        assert Reader(HASH, mount.target / "read").result().strip() == sha256(content[:half])
        eventually(lambda: resident(blob) <= half + MIB, "the pages of the blob are dropped")
        # The machine may take some pages for others at any time, but not these.
        assert resident(blob) > half // 2  # there is but one copy of what nobody has read
        assert resident(mount.target / "read") > half // 2


RESIDENT = """
import subprocess, sys
print(subprocess.run(["fincore", "-nb", "-o", "RES", sys.argv[1]], capture_output=True, check=True).stdout.decode())
"""


def test_read_ahead_is_raised(tmp_path: Path) -> None:
    with erofs_mount(tmp_path, PLAN, [CONTENT]) as mount:
        values = {int(path.read_text()) for path in Path("/sys/class/bdi").glob("erofs-*/read_ahead_kb")}
        assert 1024 in values
        assert mount.is_mounted


def test_unmounting_ends_everything(tmp_path: Path) -> None:
    with erofs_mount(tmp_path, PLAN, [CONTENT]) as mount:
        worker = mount.worker()
        run("umount", mount.target)
        assert mount.supervisor.wait(20) == 0
        assert not Path(f"/proc/{worker}").exists()
        assert not any(str(tmp_path) in line for line in erofs_mounts())


def test_who_is_still_reading_is_served_after_unmounting(tmp_path: Path) -> None:
    with erofs_mount(tmp_path, PLAN, [CONTENT]) as mount:
        reader = Reader(HASH, mount.target / "a")
        assert reader.is_waiting()
        assert run("umount", mount.target, check=False).returncode != 0
        run("umount", "--lazy", mount.target)
        assert reader.is_waiting()
        mount.blobs.arrive_all()
        assert reader.result().strip() == sha256(CONTENT[4096 : 4096 + 2 * MIB + 5])
        assert mount.supervisor.wait(20) == 0


@pytest.mark.parametrize("options", ["", "upper"])
def test_an_overlay_can_stand_on_it(tmp_path: Path, options: str) -> None:
    """As the snapshotter stacks layers."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "c").write_text("c")
    merged, upper, work = tmp_path / "merged", tmp_path / "upper", tmp_path / "work"
    for folder in (merged, upper, work):
        folder.mkdir()
    with erofs_mount(tmp_path, PLAN, [CONTENT]) as mount:
        writable = f",upperdir={upper},workdir={work}" if options else ""
        run("mount", "-t", "overlay", "-o", f"lowerdir={other}:{mount.target}{writable}", "overlay", merged)
        try:
            reader, mapped = Reader(HASH, merged / "a"), Reader(MAPPED_BYTE, merged / "folder/b", 100)
            assert reader.is_waiting()
            assert mapped.is_waiting()
            mount.blobs.arrive(0, 3 * MIB // CHUNK, 1)
            assert int(mapped.result()) == CONTENT[3 * MIB + 100]
            mount.blobs.arrive_all()
            assert reader.result().strip() == sha256(CONTENT[4096 : 4096 + 2 * MIB + 5])
            if options:
                Reader("import sys; open(sys.argv[1], 'r+b').write(b'new')", merged / "folder/b").result()
                expected = b"new" + CONTENT[3 * MIB + 3 : 4 * MIB - 1000]
                assert Reader(HASH, merged / "folder/b").result().strip() == sha256(expected)
        finally:
            run("umount", "--lazy", merged)


def members(archive: bytes) -> MountPlan:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {m.name.removeprefix("./"): (0, m.offset_data, m.size) for m in tar if m.isfile()}
    return plan_of([len(archive)], files)


def test_a_plain_tar_of_another_tool_is_shown_as_it_is(tmp_path: Path) -> None:
    source = tmp_path / "source"
    chance = random.Random(5)
    for number in range(200):
        path = source / f"{number % 7}" / f"file {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(chance.choice([0, 1, 511, 512, 513, 4096, 70_000])))
    archive = tmp_path / "layer.tar"
    run("tar", "--create", f"--file={archive}", f"--directory={source}", ".")
    content = archive.read_bytes()
    plan = members(content)
    assert any(file.offset % 4096 for file in plan.files)
    with erofs_mount(tmp_path, plan, [content]) as mount:
        mount.blobs.arrive_all()
        run("diff", "-r", source, mount.target)


# FOLDER: what its files hold, in hexadecimal.
ALL_FILES = """
import os, sys
for name in sorted(os.listdir(sys.argv[1])):
    print(open(f"{sys.argv[1]}/{name}", "rb").read().hex())
"""


def test_three_hundred_blobs(tmp_path: Path) -> None:
    chance = random.Random(6)
    contents = [chance.randbytes(8192) for _ in range(300)]
    plan = plan_of([8192] * 300, {f"{n:03}": (n, 4096, 4096) for n in range(300)})
    with erofs_mount(tmp_path, plan, contents) as mount:
        mount.blobs.arrive_all()
        found = Reader(ALL_FILES, mount.target).result().split()
        assert found == [content[4096:].hex() for content in contents]


def test_a_file_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    size = 5 << 30
    with erofs_mount(tmp_path, plan_of([size], {"big": (0, 4096, size - 4096)}), [size]) as mount:
        with open(mount.blobs.folder / "blob-0", "r+b") as blob:
            os.pwrite(blob.fileno(), b"the end", size - 7)
        mount.blobs.arrive(0, (size - 1) // CHUNK, 1)
        found = Reader(PREAD, mount.target / "big", size - 4096 - 7, 100).result()
        assert bytes.fromhex(found) == b"the end"
        with Reader(PREAD, mount.target / "big", 4 << 30, 10) as elsewhere:
            assert elsewhere.is_waiting()


# The kernel is to be asked before what is mounted, or what is mounted is not shown.
UNASKED = """
import os, sys, tempfile
from modelcar.errors import StorageError
from modelcar.mounts.erofs import mounting
from modelcar.mounts.erofs.canary import prove
from modelcar.mounts.erofs.clones import private_clone
from modelcar.mounts.erofs.fanotify import Group
from modelcar.mounts.erofs.image import metadata_image
from tests.support.plans import plan_of
plan = plan_of([8192], {"a": (0, 4096, 4096)})
image, blob = (tempfile.TemporaryFile(dir=sys.argv[1]) for _ in range(2))
image.write(metadata_image(plan)); image.flush(); blob.truncate(8192)
group = Group.create()
clone = private_clone(blob.fileno())
if sys.argv[2] != "late":
    group.watch_mount(clone)
mount = mounting.mount_detached(image.fileno(), [] if sys.argv[2] == "no device" else [clone])
if sys.argv[2] == "late":
    group.watch_mount(clone)
try:
    prove(group, mount, plan)
    print("proved")
except StorageError as e:
    print(e)
"""


def test_a_mount_that_asks_is_proved_to(tmp_path: Path) -> None:
    requires_erofs(tmp_path)
    assert root_program(UNASKED, tmp_path, "in time") == "proved\n"


@pytest.mark.parametrize("mistake", ["late", "no device"])
def test_a_mount_that_does_not_ask_is_noticed(tmp_path: Path, mistake: str) -> None:
    requires_erofs(tmp_path)
    assert root_program(UNASKED, tmp_path, mistake) == "the kernel reads 'a' without asking whether it is here\n"


# A host that a service manager confines has a mount namespace of its own, and passes descriptors of files there.
ELSEWHERE = """
import ctypes, os, sys, tempfile
from pathlib import Path
from modelcar.mounts.erofs import support
opened = os.open
def open_elsewhere(path, flags, *rest, **named):
    descriptor = opened(path, flags, *rest, **named)
    if flags & os.O_TMPFILE == os.O_TMPFILE and not told:
        told.append(ctypes.CDLL(None).unshare(0x20000))
    return descriptor
told = []
os.open = open_elsewhere
support.try_out(Path(sys.argv[1]))
print(told)
"""


def test_blobs_may_be_opened_in_another_mount_namespace(tmp_path: Path) -> None:
    requires_erofs(tmp_path)
    assert root_program(ELSEWHERE, tmp_path) == "[0]\n"


def test_where_the_kernel_cannot_ask_is_said(tmp_path: Path) -> None:
    """A tmpfs holds no blobs that ask."""
    requires_erofs(tmp_path)
    with pytest.raises(StorageError, match="cannot ask before it is read"):
        support.choose("erofs", plan=PLAN, folder=MEMORY)
    assert support.choose("auto", plan=PLAN, folder=MEMORY) == "fuse"
    assert support.choose("auto", plan=PLAN, folder=tmp_path) == "erofs"
