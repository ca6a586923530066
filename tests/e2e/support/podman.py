"""podman and buildah with storage of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.support.commands import Done, run
from tests.e2e.support.mounts import removed_cgroups, unmount_below

__all__ = ["Podman", "podman"]

_CONFIG = """
[containers]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "test"
runtime_supports_nocgroup = ["test"]
static_dir = "{folder}/static"
volume_path = "{folder}/volumes"
tmp_dir = "{folder}/tmp"
[engine.runtimes]
test = ["{folder}/test"]
"""


class Podman:
    """Both programs over one storage. Containers have no network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {"CONTAINERS_CONF": str(folder / "containers.conf"), "TMPDIR": str(folder)}
        storage = ["--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "overlay"]
        self._podman = ["podman", *storage, "--tmpdir", str(folder / "tmp")]
        self._buildah = ["buildah", *storage]

    def __call__(self, *arguments: str | Path, check: bool = True) -> Done:
        return run(*self._podman, *arguments, check=check, environment=self._environment)

    def buildah(self, *arguments: str | Path) -> str:
        """What it answers, trimmed."""
        return run(*self._buildah, *arguments, environment=self._environment).stdout.strip()

    def pull(self, ref: str) -> None:
        self("pull", "--quiet", "--tls-verify=false", ref)

    def run(self, *arguments: str, check: bool = True) -> Done:
        return self("run", "--network=none", *arguments, check=check)

    def start(self, *arguments: str) -> str:
        """A container in the background; returns its id."""
        return self.run("--detach", "--read-only", *arguments).stdout.strip()

    def inspect(self, container: str, template: str) -> str:
        return self("inspect", "--format", template, container).stdout.strip()

    def root(self, container: str) -> Path:
        """The root file system of a running container."""
        return Path("/proc", self.inspect(container, "{{.State.Pid}}"), "root")

    def stop(self, container: str) -> int:
        """TERM; returns the exit status. KILL after some seconds would make that 137."""
        self("stop", "--time", "8", container)
        return int(self.inspect(container, "{{.State.ExitCode}}"))

    def clear(self) -> None:
        """Remove pods and containers, running ones too."""
        self("pod", "rm", "--all", "--force", "--time", "0", check=False)
        self("rm", "--all", "--force", "--time", "0", check=False)
        self("volume", "rm", "--all", "--force", check=False)


@contextmanager
def podman(folder: Path) -> Iterator[Podman]:
    """Storage in `folder`, gone with the block."""
    folder.mkdir()
    (folder / "containers.conf").write_text(_CONFIG.format(folder=folder))
    shutil.copy(Path(__file__).with_name("oci_runtime.py"), folder / "test")
    engine = Podman(folder)
    with removed_cgroups("libpod_parent"):
        try:
            yield engine
        finally:
            engine.clear()
            unmount_below(folder)
