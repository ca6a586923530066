"""A machine that looks like a node: its own /etc, /var/lib and /run, and this machine's programs and loopback."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.support.commands import BIN, Done, eventually, program, run, serving
from tests.e2e.support.mounts import removed_cgroups, unmount_below

__all__ = ["Node", "ctr_namespace", "node"]

ctr_namespace = "k8s.io"  # the kubelet's
_INSIDE = 'root=$0; for p in etc var/lib run; do mount --bind "$root/$p" "/$p"; done; exec "$@"'
_CONTAINERD = """
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
    """Commands run in a mount namespace each, over the same folders."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def inside(self, *command: str | Path) -> list[str]:
        """The command line that runs `command` on the node."""
        found = [program(str(command[0])), *map(str, command[1:])]
        return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _INSIDE, str(self.root), *found]

    def __call__(self, *command: str | Path, check: bool = True, environment: Mapping[str, str] | None = None) -> Done:
        return run(*self.inside(*command), check=check, environment=environment)

    def shim(self, *arguments: str | Path, check: bool = True) -> Done:
        """A verb of registry-shim."""
        return self(BIN / "registry-shim", *arguments, check=check)

    def ctr(self, *arguments: str, check: bool = True) -> Done:
        return self("ctr", "--namespace", ctr_namespace, *arguments, check=check)

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
    root.mkdir()
    shutil.copytree("/etc", root / "etc", symlinks=True)
    for place in ("var/lib", "run"):
        (root / place).mkdir(parents=True)
    shutil.rmtree(root / "etc/containerd", ignore_errors=True)
    (root / "etc/containerd").mkdir()
    (root / "etc/containerd/config.toml").write_text(_CONTAINERD)
    machine = Node(root)
    log = root.parent / f"{root.name}.log"
    try:
        with removed_cgroups("k8s.io"), serving(log, *machine.inside("containerd")) as process:
            eventually(
                lambda: machine.ctr("version", check=False).returncode == 0 or process.poll() is not None,
                "containerd starts",
            )
            assert process.poll() is None, log.read_text()
            yield machine
    finally:
        unmount_below(root)
