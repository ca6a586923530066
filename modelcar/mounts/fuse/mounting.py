"""Connections to the kernel: mounted by root itself, or by `fusermount3` for others."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from pathlib import Path
from struct import Struct
from typing import Final

from modelcar.descriptors import receive
from modelcar.errors import InvalidDocument, WorldError
from modelcar.mounts import libc
from modelcar.mounts.fuse import wire
from modelcar.mounts.process.unmounting import mounted, unmount
from modelcar.programs import run_program

__all__ = ["REQUEST_BYTES", "connect", "request_read_ahead"]

REQUEST_BYTES: Final = 512 << 10  # in one READ; see sending.py
_DEVICE: Final = "/dev/fuse"
_CLONE: Final = 0x8004E500  # FUSE_DEV_IOC_CLONE
_NUMBER: Final = Struct("=I")
_FLAGS: Final = libc.MS_RDONLY | libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOATIME
_ANSWER_SECONDS: Final = 30


def connect(target: Path, source: str, *, lanes: int) -> tuple[int, ...]:
    """Mount at `target` and agree with the kernel on terms: one descriptor for each lane that is to read requests.

    `source` is for people: `mount` shows it. All descriptors are of one connection, which lives as long as one is open;
    what was read by one of them must be answered by the same. Raises `WorldError`.
    """
    device = _mount(target, source) if os.geteuid() == 0 else _ask_fusermount(target, source)
    try:
        _agree(device)
        return (device, *(_clone(device) for _ in range(lanes - 1)))
    except (OSError, InvalidDocument) as e:
        os.close(device)
        unmount(target, lazy=True)
        raise WorldError(f"{target}: cannot be mounted: {e}") from None


def request_read_ahead(target: Path, size: int) -> None:
    """Ask the kernel to read `size` bytes ahead. Its own default costs three quarters of the speed; only root may."""
    if (mount := mounted(target)) is None:
        return
    try:
        Path(f"/sys/class/bdi/{mount.device}/read_ahead_kb").write_text(str(size >> 10))
    except OSError:
        return


def _mount(target: Path, source: str) -> int:
    try:
        device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as e:
        hint = "load the kernel module `fuse`; a container needs the device /dev/fuse"
        raise WorldError(f"{_DEVICE}: {e.strerror}", hint=hint) from None
    options = f"fd={device},rootmode={stat.S_IFDIR:o},user_id=0,group_id=0,default_permissions,allow_other"
    try:
        libc.mount(source, target, "fuse.modelcar", _FLAGS, options)
    except OSError as e:
        os.close(device)
        why = "a container needs CAP_SYS_ADMIN to mount" if e.errno == errno.EPERM else None
        raise WorldError(f"{target}: cannot be mounted: {e.strerror}", hint=why) from None
    return device


def _ask_fusermount(target: Path, source: str) -> int:
    """It mounts on behalf of a user, and passes the descriptor over a socket."""
    ours, theirs = socket.socketpair()
    name = source.replace("\\", "\\\\").replace(",", "\\,")
    options = f"ro,nosuid,nodev,noatime,default_permissions,fsname={name},subtype=modelcar"
    with ours, theirs:
        environment = {**os.environ, "_FUSE_COMMFD": str(theirs.fileno())}
        ended = run_program(
            *("fusermount3", "-o", options, "--", os.fspath(target)),
            seconds=_ANSWER_SECONDS,
            hint="install fuse3, or mount as root",
            environment=environment,
            descriptors=[theirs.fileno()],
        )
        if ended.status:
            raise WorldError(f"{target}: cannot be mounted: {ended.complaint}")
        _, descriptors, _ = receive(ours, 1, 1)
    if not descriptors:
        raise WorldError(f"{target}: cannot be mounted: fusermount3 gave no connection")
    return descriptors[0]


def _agree(device: int) -> None:
    """The kernel's first request is what it offers."""
    request = wire.Request.parse(os.read(device, wire.READ_BUFFER))
    if request.opcode != wire.Opcode.INIT:
        raise InvalidDocument(f"the kernel began with request {request.opcode}")
    body = wire.init_reply(wire.Init.parse(request.body), request_bytes=REQUEST_BYTES)
    os.write(device, wire.reply(request.unique, body))


def _clone(device: int) -> int:
    clone = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(clone, _CLONE, _NUMBER.pack(device))
    except OSError:
        os.close(clone)
        raise
    return clone
