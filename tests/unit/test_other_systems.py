"""What a client uses works where the kernel is not Linux: laptops build, sign, push and pull, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry_shim.testing import running_registry

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

_WITHOUT_LINUX = """
import asyncio, errno, fcntl, importlib, mmap, os, pkgutil, resource, select, selectors, signal, socket, stat
import subprocess, time, urllib.request

LINUX = {
    os: "O_PATH O_TMPFILE O_LARGEFILE O_NOATIME O_DIRECT memfd_create eventfd setns unshare posix_fadvise "
        "posix_fallocate copy_file_range splice sched_getaffinity sched_setaffinity getxattr setxattr listxattr "
        "removexattr pidfd_open getrandom setresuid setresgid getresuid getresgid pipe2 fdatasync",
    socket: "SO_PEERCRED SO_PASSCRED MSG_CMSG_CLOEXEC SOCK_CLOEXEC SOCK_NONBLOCK AF_NETLINK TCP_USER_TIMEOUT TCP_CORK "
        "TCP_KEEPIDLE TCP_QUICKACK MSG_MORE",
    select: "epoll EPOLLIN EPOLLOUT EPOLLET EPOLLHUP EPOLLERR",
    mmap: "MAP_POPULATE MADV_DONTDUMP MADV_HUGEPAGE",
    signal: "pidfd_send_signal SIGRTMIN SIGPWR SIGSTKFLT sigtimedwait sigwaitinfo",
    errno: "EBADFD EREMOTEIO EMEDIUMTYPE ENOMEDIUM EUCLEAN",
    time: "CLOCK_BOOTTIME",
    resource: "prlimit",
}
for module, names in LINUX.items():
    prefixes = ("POSIX_FADV_", "CLONE_", "MFD_", "EFD_", "RWF_", "F_OFD_", "F_SEAL_")
    for name in [*names.split(), *(name for name in dir(module) if name.startswith(prefixes))]:
        if hasattr(module, name):
            delattr(module, name)
"""

_IMPORTS = """
import modelcar
import modelcar.cli.verbs
for name in modelcar.__all__:
    getattr(modelcar, name)
for found in pkgutil.iter_modules(modelcar.cli.verbs.__path__, "modelcar.cli.verbs."):
    importlib.import_module(found.name)
"""

# Where a kernel has no /proc and copies between no two files; bodies of requests still go by `sendfile`.
_COMMANDS = """
import json, sys
from pathlib import Path
import modelcar.checkpoint.pieces, modelcar.lazy.partial, modelcar.packaging.staging
from modelcar.cli import main
from modelcar.registry.session import Session
from tests.support.checkpoints import make_checkpoint

NOWHERE = Path("/nowhere/boot_id")
modelcar.checkpoint.pieces._BOOT_ID = modelcar.lazy.partial._BOOT = modelcar.packaging.staging._BOOT_ID = NOWHERE
to_socket = os.sendfile

def sendfile(target, source, offset, count):
    if not stat.S_ISSOCK(os.fstat(target).st_mode):
        raise OSError(errno.ENOTSOCK, "Socket operation on non-socket")
    return to_socket(target, source, offset, count)

os.sendfile = sendfile
selectors.DefaultSelector = selectors.PollSelector
sys.platform = "darwin"

def modelcar(*words):
    assert main([*map(str, words), "--json"]) == 0, words

folder, address = Path(sys.argv[1]), sys.argv[2]
model = make_checkpoint(folder / "model")
name = f"{address}/acme/tiny:v1"
key, pub = folder / "k.key", folder / "k.pub"
modelcar("scan", model)
modelcar("keygen", "-o", folder / "k")
modelcar("build", model, "-t", name, "--push", "--sign-key", key)
modelcar("attest", name, "--type", "provenance", "--key", key, "--allow-same-signer")
modelcar("push", name)
modelcar("verify", name, "--remote", "--key", pub)
modelcar("inspect", name, "--remote")
modelcar("pull", name, "--remote", "-o", folder / "copy")
modelcar("pull", name, "-o", folder / "local")
modelcar("pull", name, "--remote", "-o", folder / "rank", "--tp", 2, "--rank", 0)
modelcar("diff", model, folder / "copy")
modelcar("diff", model, folder / "local")
modelcar("export", name, "-o", folder / "layout")
modelcar("archive", name, "-o", folder / "model.tar")
modelcar("rm", name)
modelcar("pull", name)
modelcar("scan", name)
modelcar("copy", name, f"{address}/acme/other:v1")
modelcar("copy", f"oci:{folder}/layout:v1", f"oci:{folder}/second:v1")
modelcar("convert", model, "-o", folder / "converted", "--max-shard-size", "300KB")
modelcar("gc")
"""


def test_a_client_can_be_imported_without_what_only_linux_has(tmp_path: Path) -> None:
    _run(_IMPORTS, tmp_path)


def test_a_client_works_without_what_only_linux_has(tmp_path: Path) -> None:
    with running_registry() as address:
        _run(_COMMANDS, tmp_path, address)


def _run(script: str, folder: Path, *words: str) -> None:
    home = {"MODELCAR_HOME": f"{folder}/home", "HOME": str(folder), "DOCKER_CONFIG": f"{folder}/docker"}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_LINUX + script, str(folder), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env={**os.environ, "COSIGN_PASSWORD": "secret", **home},
    )
    assert done.returncode == 0, done.stderr
