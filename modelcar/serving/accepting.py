"""From a listening socket to connections: admitted within the limits, and with TLS where there is a certificate."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from modelcar.serving.connections import Connections, Slot, client_of
from modelcar.tls import Contexts

__all__ = ["Acceptor"]

_AT_ONCE: Final = 64  # connections taken before others get a turn of the loop
_BREAK_SECONDS: Final = 0.5  # when there is no file descriptor left, or no memory
_SHUTDOWN_SECONDS: Final = 2.0
_BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_log = logging.getLogger("modelcar.serving")


class Acceptor:
    """Takes connections from `listener` until it is closed. `protocol` makes what speaks on one."""

    def __init__(
        self,
        listener: socket.socket,
        connections: Connections,
        protocol: Callable[[Slot], asyncio.Protocol],
        tls: Contexts | None,
    ) -> None:
        self._listener = listener
        self._connections = connections
        self._protocol = protocol
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._closed = False
        self._refusing = False

    def start(self) -> None:
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener.fileno(), self._accept)

    async def close(self) -> None:
        """Take no more; what is still shaking hands is dropped. The socket is its owner's to close."""
        self._closed = True
        self._loop.remove_reader(self._listener.fileno())
        while self._opening:
            for task in self._opening:
                task.cancel()
            await asyncio.wait(self._opening)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as e:
                self._pause(e)
                return
            self._refusing = False
            connection.setblocking(False)
            slot = self._connections.admit(client_of(address))
            if slot is None:
                self._refuse(connection)
                continue
            task = self._loop.create_task(self._open(connection, slot))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _pause(self, error: OSError) -> None:
        if not self._refusing:
            _log.error("no connection can be taken for now: %s", error.strerror)
        self._refusing = True
        self._connections.make_room()
        self._loop.remove_reader(self._listener.fileno())
        self._loop.call_later(_BREAK_SECONDS, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self.start()

    def _refuse(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if self._tls is None:
                connection.send(_BUSY)

    async def _open(self, connection: socket.socket, slot: Slot) -> None:
        context = self._tls.current() if self._tls is not None else None
        timeout = self._connections.limits.header_seconds if context else None
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine runs in one
        slot.drop = task.cancel
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._protocol(slot),
                connection,
                ssl=context,
                ssl_handshake_timeout=timeout,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS if context else None,
            )
        except (OSError, ssl.SSLError, TimeoutError) as e:
            _log.debug("a connection from %s did not open: %s", slot.client, type(e).__name__)
            slot.release()
            connection.close()
        except asyncio.CancelledError:
            slot.release()
            connection.close()
            raise
