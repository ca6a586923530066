"""The holder between processes as in a pod: one PID namespace, a root file system of its own, users that differ.

What the kernel allows here (`/proc/PID/root` to the same UID and GID only) is what admission relies on.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from modelcar.holder import Architecture, holder_bytes
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

MACHINES: dict[str, Architecture] = {"x86_64": "amd64", "aarch64": "arm64"}
WEIGHTS = os.urandom(1 << 20)
SUM = hashlib.sha256(WEIGHTS).hexdigest()

# Process 1 of the namespace, like a pod's pause container; the holder and its readers enter it.
PAUSE = ["unshare", "--mount", "--mount-proc", "--pid", "--fork", "--kill-child", "sleep", "600"]

# What a container engine does: a read-only root with the emptyDir and a /proc in it, then another user.
CONTAINER = """
root=$1 volume=$2 uid=$3 gid=$4; shift 4
mount --bind "$root" "$root" && mount --bind "$volume" "$root$volume" && mount -t proc proc "$root/proc" &&
mount -o remount,bind,ro "$root" && exec unshare --root="$root" --setuid="$uid" --setgid="$gid" "$@"
"""

# Opens and maps a file, then answers a line each: what is in the mapping, the open file, a file opened now.
READER = """
import hashlib, mmap, sys
path = sys.argv[1]
file = open(path, "rb", buffering=0)
mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
for line in sys.stdin:
    try:
        source = {"mapping": lambda: mapping, "file": lambda: (file.seek(0), file.read())[1],
                  "path": lambda: open(path, "rb").read()}[line.strip()]()
        print(hashlib.sha256(source).hexdigest(), flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""


def child_of(pid: int) -> int:
    """The process that `unshare --fork` or `nsenter --pid` forked, by its number outside the namespace."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    eventually(lambda: bool(children.read_text()))
    return int(children.read_text())


class Running:
    """The holder in the pod."""

    def __init__(self, command: list[str]) -> None:
        self._entered = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._entered.stdout
        self.line = self._entered.stdout.readline()

    @property
    def pid(self) -> int:
        return child_of(self._entered.pid)

    def end(self, with_signal: signal.Signals) -> int:
        os.kill(self.pid, with_signal)
        return self.wait()

    def wait(self) -> int:
        self._entered.communicate(timeout=10)
        return self._entered.returncode


class Pod:
    def __init__(self, folder: Path) -> None:
        self.volume = folder / "volume"
        self.image = folder / "image"
        for name in ("models/sub", "proc", ".modelcar", str(self.volume).lstrip("/")):
            (self.image / name).mkdir(parents=True)
        self.volume.mkdir()
        self.volume.chmod(0o777)
        (self.image / "models/config.json").write_text("{}")
        (self.image / "models/sub/model.safetensors").write_bytes(WEIGHTS)
        self.program = self.image / ".modelcar/holder"
        self.program.write_bytes(holder_bytes(MACHINES[os.uname().machine]))
        self.program.chmod(0o755)
        self._pause = subprocess.Popen(PAUSE)
        first = child_of(self._pause.pid)
        eventually(lambda: Path(f"/proc/{first}/cmdline").read_bytes().startswith(b"sleep"))
        self.enter = ["nsenter", f"--target={first}", "--pid", "--mount"]

    def start(self, user: str) -> Running:
        """The sidecar, as `uid:gid`; a user that is not root loses all capabilities."""
        container = ["unshare", "--mount", "sh", "-c", CONTAINER, "sh", str(self.image), str(self.volume)]
        holder = ["/.modelcar/holder", "publish", "--to", str(self.volume)]
        return Running([*self.enter, *container, *user.split(":"), *holder])

    def server(self, user: str, *command: str | Path) -> subprocess.CompletedProcess[bytes]:
        """A command in another container: another root, the user `uid:gid`, no capabilities."""
        uid, gid = user.split(":")
        drop = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
        drop += ["--bounding-set=-all", "--inh-caps=-all"]
        return subprocess.run([*self.enter, *drop, *map(str, command)], capture_output=True, timeout=20)

    def ready(self, user: str) -> subprocess.CompletedProcess[bytes]:
        return self.server(user, self.program, "ready", "--to", self.volume)

    def close(self) -> None:
        os.kill(child_of(self._pause.pid), signal.SIGKILL)  # takes every process of the namespace along
        self._pause.wait(timeout=10)


@pytest.fixture
def pod() -> Iterator[Pod]:
    # Not tmp_path: its parents are 0700, and the users of these tests must reach the volume.
    with TemporaryDirectory(prefix="modelcar-e2e-") as name:
        Path(name).chmod(0o755)
        pod = Pod(Path(name))
        try:
            yield pod
        finally:
            pod.close()


@pytest.mark.root
@pytest.mark.debian("unshare", "nsenter", "setpriv")
@pytest.mark.parametrize(
    ("sidecar", "server", "allowed"),
    [
        ("1000:1000", "1000:1000", True),
        ("1000:1000", "1000:0", False),
        ("1000:1000", "1000:1001", False),
        ("1000:1000", "2000:1000", False),
        ("1000:1000", "0:0", False),
        ("1000:0", "1000:1000", False),
        ("0:0", "0:0", False),  # the sidecar has capabilities that the server lacks
    ],
)
def test_the_same_user_and_group_read_and_nobody_else(pod: Pod, sidecar: str, server: str, allowed: bool) -> None:
    holder = pod.start(sidecar)
    read = pod.server(server, "cat", pod.volume / "sub/model.safetensors")
    ready = pod.ready(server)
    assert holder.end(signal.SIGTERM) == 0
    if allowed:
        assert (read.returncode, read.stdout) == (0, WEIGHTS)
        assert (ready.returncode, ready.stderr) == (0, b"")
    else:
        assert b"Permission denied" in read.stderr
        assert ready.returncode == 1
        assert b"Permission denied: run the holder and its readers with the same UID and GID" in ready.stderr


@pytest.mark.root
@pytest.mark.debian("unshare", "nsenter", "setpriv")
def test_a_killed_holder_takes_nothing_from_open_files_and_gives_the_paths_back(pod: Pod) -> None:
    path = pod.volume / "sub/model.safetensors"
    holder = pod.start("1000:1000")
    reader = subprocess.Popen(
        [*pod.enter, sys.executable, "-c", READER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with reader:
        assert reader.stdin
        assert reader.stdout

        def ask(source: str) -> str:
            assert reader.stdin
            assert reader.stdout
            reader.stdin.write(f"{source}\n")
            reader.stdin.flush()
            return reader.stdout.readline().strip()

        assert [ask("mapping"), ask("file"), ask("path")] == [SUM] * 3
        holder.end(signal.SIGKILL)
        assert pod.ready("1000:1000").returncode == 1
        assert [ask("mapping"), ask("file"), ask("path")] == [SUM, SUM, "FileNotFoundError"]
        second = pod.start("1000:1000")
        assert second.line != holder.line
        assert pod.ready("1000:1000").returncode == 0
        assert [ask("mapping"), ask("file"), ask("path")] == [SUM] * 3
        assert second.end(signal.SIGTERM) == 0


@pytest.mark.root
@pytest.mark.debian("unshare", "nsenter", "setpriv")
def test_a_program_that_its_user_cannot_read_says_that_others_are_shut_out(pod: Pod) -> None:
    pod.program.chmod(0o711)
    holder = pod.start("1000:1000")
    assert holder.line.startswith("holder: /proc/self/root: closed to other processes because this one is not dumpable")
    assert holder.wait() == 1


@pytest.mark.root
@pytest.mark.debian("unshare", "nsenter", "setpriv")
def test_a_root_that_is_read_only_without_a_volume_says_what_to_mount(pod: Pod) -> None:
    pod.volume.chmod(0o555)
    holder = pod.start("1000:1000")
    assert "Permission denied: mount an emptyDir" in holder.line
    assert holder.wait() == 1


@pytest.mark.root
@pytest.mark.debian("unshare", "nsenter", "setpriv")
def test_as_process_1_it_obeys_and_reaps_orphans(pod: Pod) -> None:
    alone = ["unshare", "--mount", "--mount-proc", "--pid", "--fork", "--kill-child"]
    command = [*alone, str(pod.program), "hold", "--model", str(pod.image / "models")]
    entered = subprocess.Popen(command)
    first = child_of(entered.pid)
    eventually(lambda: Path(f"/proc/{first}/cmdline").read_bytes().startswith(bytes(pod.program)))
    inside = ["nsenter", f"--target={first}", "--pid", "--mount"]
    # A shell leaves a child behind, which becomes process 1's and then ends.
    subprocess.run([*inside, "sh", "-c", "(sleep 0.2 &) ; exit 0"], check=True)
    children = Path(f"/proc/{first}/task/{first}/children")
    eventually(lambda: bool(children.read_text()))
    eventually(lambda: not children.read_text())
    began = time.monotonic()
    os.kill(first, signal.SIGTERM)
    assert entered.wait(timeout=10) == 0
    assert time.monotonic() - began < 2


@pytest.mark.debian("qemu-aarch64-static")
def test_the_arm64_program_does_the_same(tmp_path: Path) -> None:
    program, model, volume = tmp_path / "holder", tmp_path / "models", tmp_path / "volume"
    program.write_bytes(holder_bytes("arm64"))
    program.chmod(0o755)
    (model / "sub").mkdir(parents=True)
    (model / "sub/x").write_bytes(WEIGHTS)
    volume.mkdir()

    def command(verb: str) -> list[str]:
        return ["qemu-aarch64-static", str(program), verb, "--model", str(model), "--to", str(volume)]

    for _ in range(2):
        with subprocess.Popen(command("publish"), stdout=subprocess.PIPE) as holder:
            try:
                assert holder.stdout
                assert b"published" in holder.stdout.readline()
                assert (volume / "sub/x").readlink() == Path("../.modelcar/sub/x")
                assert (volume / "sub/x").read_bytes() == WEIGHTS
                assert subprocess.run(command("ready"), timeout=20).returncode == 0
            finally:
                holder.terminate()
        assert holder.returncode == 0
        assert subprocess.run(command("ready"), capture_output=True, timeout=20).returncode == 1
