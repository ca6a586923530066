"""Packets over a `SOCK_SEQPACKET` socket, with open files, between processes of one user. Sending never waits."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelcar.descriptors import receive
from modelcar.errors import InvalidDocument, UsageError
from modelcar.mounts.link.packets import LARGEST, Packet, parse, to_bytes
from modelcar.serving.sockets import at
from modelcar.store.disk import explain

__all__ = ["MOST_FILES", "Channel", "Closed", "connect", "listen"]

MOST_FILES: Final = 253  # in one packet, says Linux (SCM_MAX_FD)
_MOST_UNSENT: Final = 100_000  # packets; whoever takes none for so long is dead
_CREDENTIALS: Final = struct.Struct("3i")
_FILE: Final = struct.Struct("i")


class Closed(Exception):
    """The other side is gone."""


class Channel:
    """One end. `post` and `close` are safe from any thread; `wait` and `receive` are for one."""

    def __init__(self, sock: socket.socket, *, owner: int | None = None) -> None:
        """Raises `UsageError` if the other side is another user's, who is neither root nor `owner`."""
        sock.setblocking(False)
        self._sock = sock
        self.peer, uid, _ = _CREDENTIALS.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        """The process that called `connect` or `listen`."""
        if uid not in (0, os.geteuid(), owner):
            sock.close()
            raise UsageError(f"the process {self.peer} at the other side of the socket is another user's")
        self._lock = threading.Lock()
        self._unsent: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closed = threading.Event()

    def post(self, packet: Packet, files: Sequence[int] = ()) -> None:
        """Send, now or when there is room. `files` are closed once they are sent, or cannot be any more."""
        with self._lock:
            if not self._closed.is_set() and len(self._unsent) < _MOST_UNSENT:
                self._unsent.append((to_bytes(packet), tuple(files)))
                self._flush()
                if self._unsent:
                    os.eventfd_write(self._wake, 1)
                return
        _close(files)

    def wait(self, seconds: float | None) -> bool:
        """Send what is unsent until there is something to receive; False if there is nothing yet."""
        poll = select.poll()
        with self._lock:
            if self._closed.is_set():
                return True
            poll.register(self._wake, select.POLLIN)
            poll.register(self._sock, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        ready = dict(poll.poll(None if seconds is None else max(0, int(seconds * 1000))))
        with self._lock:
            if self._closed.is_set():
                return True
            if self._wake in ready:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            self._flush()
            return bool(ready.get(self._sock.fileno(), 0) & ~select.POLLOUT)

    def receive(self) -> tuple[Packet, list[int]] | None:
        """The next packet, with files that are the caller's now; `None` if there is none at the moment.

        Raises:
            Closed: there will be none.
            InvalidDocument: it is none.
        """
        if self._closed.is_set():
            raise Closed
        try:
            data, files, cut = receive(self._sock, LARGEST, MOST_FILES)
        except BlockingIOError:
            return None
        except OSError:
            raise Closed from None
        try:
            if not data:
                raise Closed
            if cut:
                raise InvalidDocument("a packet was cut off")
            return parse(data), files
        except BaseException:
            _close(files)
            raise

    def close(self) -> None:
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)  # whoever waits in `poll` is woken
            self._sock.close()
            os.close(self._wake)
            for _, files in self._unsent:
                _close(files)
            self._unsent.clear()

    def _flush(self) -> None:
        while self._unsent:
            data, files = self._unsent[0]
            try:
                rights = b"".join(map(_FILE.pack, files))
                extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if files else []
                self._sock.sendmsg([data], extra, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:  # `receive` notices that it is gone
                pass
            self._unsent.popleft()
            _close(files)


def connect(path: Path) -> Channel:
    """For root, whoever listens there may be the user whom the socket belongs to: shims have users of their own.

    Raises:
        StorageError: nobody listens there.
        UsageError: it is somebody else.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.settimeout(5.0)
        at(path, sock.connect)
        return Channel(sock, owner=path.stat().st_uid if os.geteuid() == 0 else None)
    except OSError as e:
        sock.close()
        raise explain(e, f"nobody answers at {path}") from None


def listen(path: Path) -> socket.socket:
    """A socket that only its owner may connect to, in the place of one that a dead process left. Raises
    `StorageError`."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        path.unlink(missing_ok=True)
        os.fchmod(sock.fileno(), 0o600)  # before it has a name: there is no moment in which others may
        at(path, sock.bind)
        sock.listen(64)
    except OSError as e:
        sock.close()
        raise explain(e, f"cannot listen at {path}") from None
    return sock


def _close(files: Sequence[int]) -> None:
    for fd in files:
        os.close(fd)
