"""A machine that looks like a node: its own /etc, /var/lib and /run, and this machine's programs and loopback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelcar.errors import WorldError
from modelcar.oci import Digest
from registry_shim.engines.cri import Cri
from registry_shim.engines.importing import Importer
from registry_shim.engines.settings import ImportSettings
from tests.e2e.conftest import Published
from tests.e2e.support.commands import BIN, Done, program, run, serving
from tests.e2e.support.mounts import removed_cgroups, unmount_below
from tests.e2e.support.shims import Shim
from tests.support.waiting import eventually

__all__ = ["CONFIG_1", "Node", "check_import", "lay_out", "node", "pull_by_cri", "running_containerd"]

_INSIDE = 'root=$0; for p in etc var/lib run; do mount --bind "$root/$p" "/$p"; done; exec "$@"'
CONFIG_1 = """
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.tracing.processor.v1.otlp",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
"""


class Node:
    """Commands run in a mount namespace each, over the same folders; `programs` is a folder of some that go first."""

    def __init__(self, root: Path, programs: Path | None = None) -> None:
        self.root = root
        self._path = {"PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"} if programs else {}

    def inside(self, *command: str | Path) -> list[str]:
        """The command line that runs `command` on the node."""
        found = [program(str(command[0])), *map(str, command[1:])]
        return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _INSIDE, str(self.root), *found]

    def __call__(self, *command: str | Path, check: bool = True) -> Done:
        return run(*self.inside(*command), check=check, environment=self._path)

    @property
    def cri(self) -> Path:
        """The engine's socket, from outside."""
        return self.root / "run/containerd/containerd.sock"

    def shim(self, *arguments: str | Path, check: bool = True) -> Done:
        """A verb of registry-shim."""
        return self(BIN / "registry-shim", *arguments, check=check)

    def ctr(self, *arguments: str, check: bool = True) -> Done:
        return self("ctr", "--namespace", "k8s.io", *arguments, check=check)

    def podman(self, name: str, *arguments: str, check: bool = True) -> Done:
        """podman or buildah, with storage that the test's folder holds."""
        storage = ["--root", str(self.root / "podman"), "--runroot", str(self.root / "podman-run")]
        return self(name, *storage, "--storage-driver", "vfs", *arguments, check=check)

    def content(self) -> Path:
        """containerd's content store, from outside."""
        return self.root / "var/lib/containerd/io.containerd.content.v1.content"


@contextmanager
def node(root: Path) -> Iterator[Node]:
    """With a containerd whose CRI answers, and this machine's configuration of everything else."""
    machine = Node(root)
    lay_out(machine, CONFIG_1)
    try:
        with running_containerd(machine):
            yield machine
    finally:
        unmount_below(root)


def lay_out(machine: Node, config: str | None) -> None:
    """The node's folders, with this configuration of containerd."""
    shutil.copytree("/etc", machine.root / "etc", symlinks=True)
    for place in ("var/lib", "run"):
        (machine.root / place).mkdir(parents=True)
    shutil.rmtree(machine.root / "etc/containerd", ignore_errors=True)
    (machine.root / "etc/containerd").mkdir()
    if config is not None:
        (machine.root / "etc/containerd/config.toml").write_text(config)


@contextmanager
def running_containerd(machine: Node, program: str | Path = "containerd") -> Iterator[None]:
    """The node's engine, until the block ends."""
    log = machine.root.parent / f"{machine.root.name}.log"
    with removed_cgroups("k8s.io"), serving(log, *machine.inside(program)) as process:
        eventually(lambda: _answers(machine.cri) or process.poll() is not None, "containerd starts")
        assert process.poll() is None, log.read_text()
        yield


def pull_by_cri(machine: Node, ref: str) -> Done:
    """As the kubelet does."""
    answer = Cri(machine.cri).pull(ref, seconds=60)
    return Done([], 0 if answer.refusal is None else 1, "", answer.refusal or "")


def check_import(machine: Node, shim: Shim, model: Published) -> None:
    """Import what the shim has whole into containerd, and see that its weights are on the disk once."""
    whole = [path for path in (shim.root / "blobs/sha256").iterdir() if path.stat().st_size > 500_000]
    assert len(whole) == 3
    settings = ImportSettings(socket=machine.cri, content=machine.content(), seconds=60)
    blobs = {Digest("sha256", path.name): path for path in whole}
    done = Importer(settings).import_image(model.ref, blobs=blobs)
    assert done.shared == sum(path.stat().st_size for path in whole)
    for path in whole:
        theirs = machine.content() / "blobs/sha256" / path.name
        assert theirs.samefile(path) or _reflinks(theirs)
    assert model.ref in machine.ctr("images", "list", "--quiet").stdout.split()


def _answers(socket: Path) -> bool:
    try:
        return bool(Cri(socket).version().version)
    except WorldError:
        return False


def _reflinks(path: Path) -> bool:
    """Whether files on this file system can share blocks under two inodes."""
    copy = path.with_name(".reflink")
    done = run("cp", "--reflink=always", path, copy, check=False)
    copy.unlink(missing_ok=True)
    return done.returncode == 0
