"""Lazy layers through the shim beside it: that has the bytes and the credentials, and knows the policies."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelcar.errors import NotFound, WorldError
from modelcar.mounts.erofs.support import KernelMount, choose
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.process.launch import start_mount
from modelcar.mounts.process.unmounting import mounted, unmount
from modelcar.mounts.start_times import start_time
from modelcar.oci import Digest
from modelcar.store.disk import atomic_write, explain, make_dirs
from registry_shim.operations.admin.client import AdminClient
from registry_shim.snapshotter.records import ModelImage

__all__ = ["ShimMounter"]

_CHECK_SECONDS: Final = 5.0
_MOUNT_SECONDS: Final = 60.0
_SLOW_SECONDS: Final = 30.0
_log = logging.getLogger(__name__)


class ShimMounter:
    """A `LayerMounter`. The processes that serve a mount outlive this one."""

    def __init__(self, root: Path, state: Path, *, wanted: KernelMount = "auto") -> None:
        """`root` is the folder of the shim, `state` one of our own; `wanted` how to mount: auto, erofs or fuse."""
        self._root = root
        self._supervisors = state / "supervisors"
        self._log = state / "mounts.log"
        self._checking = AdminClient(root, timeout=_CHECK_SECONDS)
        self._mounting = AdminClient(root, timeout=_MOUNT_SECONDS)
        self._wanted = wanted
        self._slow: dict[Digest, float] = {}
        self._lock = threading.Lock()
        self._children: list[subprocess.Popen[bytes]] = []

    def check(self, image: ModelImage, layer: Digest) -> None:
        if self._slow.get(image.manifest, 0.0) > time.monotonic():
            raise WorldError("the shim takes too long to tell")
        try:
            self._checking.post(
                "mounts/check", reference=image.reference, manifest=str(image.manifest), layer=str(layer)
            )
        except WorldError:  # an image has many layers, and containerd waits for each
            self._slow[image.manifest] = time.monotonic() + _SLOW_SECONDS
            raise

    def mount(self, image: ModelImage, target: Path) -> None:
        self._reap()
        if self._serves(target):
            return
        self._clear(target)
        name = f"layers-{image.number}-{image.manifest.hex[:16]}"
        added = self._mounting.post(
            "mounts", id=name, reference=image.reference, manifest=str(image.manifest), target=str(target)
        )
        plan = _read_plan(Path(added["plan"]))
        front = choose(self._wanted, plan=plan, folder=self._root)
        child = start_mount(
            plan,
            front=front,
            socket=Path(added["socket"]),
            mount=name,
            target=target,
            log=self._log,
        )
        with self._lock:
            self._children.append(child)
        self._remember(target, child.pid)
        self._mounting.post("mounts/started", id=name, supervisor=child.pid, front=front)
        _log.info("%s is mounted at %s by %s", image.reference, target, front)

    def recover(self, target: Path) -> None:
        if mounted(target) is not None and not self._serves(target):
            self._clear(target)

    def unmount(self, target: Path) -> None:
        self._clear(target)
        with suppress(WorldError):  # the shim notices by itself when it is back
            self._mounting.delete("mounts", target=str(target))
        self._reap()

    def _serves(self, target: Path) -> bool:
        """Whether something is mounted there, and its supervisor lives. Who looks at a dead mount itself may wait."""
        if mounted(target) is None:
            return False
        try:
            pid, began = map(int, (self._supervisors / target.name).read_text().split())
        except (OSError, ValueError):
            return False
        return start_time(pid) == began

    def _remember(self, target: Path, supervisor: int) -> None:
        make_dirs(self._supervisors)
        atomic_write(self._supervisors / target.name, f"{supervisor} {start_time(supervisor)}".encode())

    def _clear(self, target: Path) -> None:
        (self._supervisors / target.name).unlink(missing_ok=True)
        with suppress(NotFound):
            while mounted(target) is not None:
                unmount(target, lazy=True)

    def _reap(self) -> None:
        """Supervisors that have ended; those that go on are nobody's children once this process has ended."""
        with self._lock:
            self._children = [child for child in self._children if child.poll() is None]


def _read_plan(path: Path) -> MountPlan:
    try:
        return MountPlan.parse(path.read_bytes())
    except OSError as e:
        raise explain(e, f"cannot read {path}") from None
