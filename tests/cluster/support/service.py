"""What a Service is in a cluster: one address, behind which are the replicas that run."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

__all__ = ["Service", "service"]

_PIECE = 64 << 10


class Service:
    """Takes connections at `127.0.0.1:port` and hands each to the next of `replicas`, which may change at any time.

    One that takes none is left out, as a cluster leaves out what is not ready; with none at all connections are closed.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.port = int(listener.getsockname()[1])
        self.replicas: list[tuple[str, int]] = []
        self._listener = listener
        self._turns = count()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def run(self) -> None:
        """Until the listener is shut down."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = self._connected()
            if server is None:
                client.close()
                continue
            self._open |= {client, server}
            for pair in ((client, server), (server, client)):
                self._threads.append(threading.Thread(target=_carry, args=pair, daemon=True))
                self._threads[-1].start()

    def cut(self) -> None:
        """End all connections, also those that the API server keeps for later."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in self._open:
            each.close()
        self._open.clear()
        self._threads.clear()

    def _connected(self) -> socket.socket | None:
        replicas, turn = list(self.replicas), next(self._turns)
        for n in range(len(replicas)):
            with suppress(OSError):
                return socket.create_connection(replicas[(turn + n) % len(replicas)], 5)
        return None


@contextmanager
def service() -> Iterator[Service]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = Service(listener)
        thread = threading.Thread(target=running.run, name="service", daemon=True)
        thread.start()
        try:
            yield running
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            running.cut()


def _carry(source: socket.socket, target: socket.socket) -> None:
    source.settimeout(None)
    with suppress(OSError):
        while data := source.recv(_PIECE):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
