"""Moving request bodies into a socket with as little work as possible, and noticing when nobody wants them any more.

A registry may answer in the middle of an upload (401, 413) and stop reading. Its answer is worth more than the "broken
pipe" that follows, so every wait for room in the socket also watches for something to read; and where there is always
room, because somebody takes and drops what comes, it is looked for now and then. `BrokenPipeError` then means "stop
sending, and look for an answer", which is how urllib3 understands it too.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import threading

from modelcar.errors import StorageError
from modelcar.files import ends_early
from modelcar.layers.bytemap import FileSlice

__all__ = ["send_bytes", "send_slice"]

_BLOCK = 1 << 20
_STEP = 256 << 10  # bytes between two looks for an answer
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR
_PEER_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED, errno.ESHUTDOWN, errno.ENOTCONN})
_local = threading.local()


def send_bytes(sock: socket.socket, data: bytes | bytearray | memoryview) -> None:
    """Send all of `data`. `TimeoutError` when nothing moves for the socket's timeout."""
    view = memoryview(data)
    if isinstance(sock, ssl.SSLSocket):
        _send_tls(sock, view)
        return
    while view:
        try:
            view = view[os.write(sock.fileno(), view) :]
        except BlockingIOError:
            _wait_for_room(sock)


def send_slice(sock: socket.socket, piece: FileSlice) -> None:
    """Send a range of an open file: by the kernel alone, or in blocks where TLS has to see the bytes.

    Raises:
        SourceChanged: the file ends before the range does.
    """
    if isinstance(sock, ssl.SSLSocket):
        _send_slice_tls(sock, piece)
        return
    offset, end, target = piece.offset, piece.offset + piece.size, sock.fileno()
    poll = select.poll()
    poll.register(target, select.POLLIN)
    while offset < end:
        if poll.poll(0) and not _is_interim(sock):
            raise BrokenPipeError(errno.EPIPE, "the peer answers instead of reading")
        try:
            n = os.sendfile(target, piece.fd, offset, min(_STEP, end - offset))
        except BlockingIOError:
            _wait_for_room(sock)
            continue
        except OSError as e:
            raise _failure(e, piece) from None
        if n == 0:
            raise ends_early(piece.path, offset)
        offset += n


def _send_slice_tls(sock: ssl.SSLSocket, piece: FileSlice) -> None:
    buffer = _block_buffer()
    offset, end = piece.offset, piece.offset + piece.size
    while offset < end:
        view = buffer[: min(len(buffer), end - offset)]
        try:
            n = os.preadv(piece.fd, [view], offset)
        except OSError as e:
            raise _failure(e, piece) from None
        if n == 0:
            raise ends_early(piece.path, offset)
        _send_tls(sock, view[:n])
        offset += n


def _send_tls(sock: ssl.SSLSocket, view: memoryview) -> None:
    try:
        sock.sendall(view)
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError):
        raise BrokenPipeError(errno.EPIPE, "the peer stopped reading") from None
    except TimeoutError:
        # Without TLS an early answer shows at once; here it may be a mere session ticket, so only a stall tells.
        if select.select([sock], [], [], 0)[0]:
            raise BrokenPipeError(errno.EPIPE, "the peer answers instead of reading") from None
        raise


def _wait_for_room(sock: socket.socket) -> None:
    """Return once `sock` takes more bytes. `BrokenPipeError` if the peer answered already or hung up."""
    timeout = sock.gettimeout()
    poll = select.poll()
    events = select.POLLIN | select.POLLOUT
    while True:
        poll.register(sock, events)
        ready = poll.poll(None if timeout is None else timeout * 1000)
        if not ready:
            raise TimeoutError("timed out")
        if ready[0][1] & _READABLE and events & select.POLLIN:
            if not _is_interim(sock):
                raise BrokenPipeError(errno.EPIPE, "the peer answers instead of reading")
            events = select.POLLOUT
        elif ready[0][1] & (select.POLLHUP | select.POLLERR):
            raise BrokenPipeError(errno.EPIPE, "the peer hung up")
        if ready[0][1] & select.POLLOUT:
            return


def _is_interim(sock: socket.socket) -> bool:
    """Whether what waits to be read is a 1xx answer, which asks to go on."""
    try:
        start = sock.recv(10, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return False
    return start.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1"))


def _block_buffer() -> memoryview:
    """One block per thread, for all of its uploads."""
    buffer: memoryview | None = getattr(_local, "buffer", None)
    if buffer is None:
        buffer = _local.buffer = memoryview(bytearray(_BLOCK))
    return buffer


def _failure(error: OSError, piece: FileSlice) -> Exception:
    """What failed is the socket, or else the file."""
    if error.errno in _PEER_GONE or isinstance(error, TimeoutError):
        return BrokenPipeError(errno.EPIPE, "the peer stopped reading")
    return StorageError(f"cannot read {piece.path}: {error.strerror}")
