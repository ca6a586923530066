"""What a client uses can be imported where the kernel is not Linux: laptops build, sign, push and pull, too."""

from __future__ import annotations

import subprocess
import sys

_IMPORTS = """
import asyncio, errno, fcntl, importlib, mmap, os, pkgutil, resource, select, selectors, signal, socket
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

import modelcar
import modelcar.cli.verbs
for name in modelcar.__all__:
    getattr(modelcar, name)
for found in pkgutil.iter_modules(modelcar.cli.verbs.__path__, "modelcar.cli.verbs."):
    importlib.import_module(found.name)
"""


def test_a_client_can_be_imported_without_what_only_linux_has() -> None:
    done = subprocess.run([sys.executable, "-c", _IMPORTS], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
