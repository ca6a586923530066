"""A wire between two nodes that can be cut, slowed, and written over."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Final

from tests.e2e.shim_proof.raw import connect

__all__ = ["Mood", "Wire", "wire"]

_PIECE: Final = 64 << 10
_HEADS: Final = 16 << 10  # bytes at the start of a connection that are left as they are


class Mood(StrEnum):
    TRUE = "passes on what it gets"
    LYING = "one bit in each piece is another, from the server to the client"
    SLOW = "a hundred kilobytes a second"
    SILENT = "passes nothing on"
    CUT = "hangs up"


class Wire:
    """Listens on `address`, for a server at `target`. What it did is in `carried`: bytes towards the client."""

    def __init__(self, target: str = "") -> None:
        self.target, self.mood, self.carried = target, Mood.TRUE, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = connect(self.target)
            except OSError:
                client.close()
                continue
            for source, sink, back in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._carry, args=(source, sink, back), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, back: bool) -> None:
        passed = 0
        with suppress(OSError):
            source.settimeout(None)
            while data := source.recv(_PIECE):
                while self.mood is Mood.SILENT:
                    time.sleep(0.05)
                if self.mood is Mood.CUT:
                    break
                if back and self.mood is Mood.SLOW:
                    time.sleep(len(data) / 100_000)
                if back and self.mood is Mood.LYING and passed + len(data) > _HEADS:
                    data = data[:-1] + bytes([data[-1] ^ 1])
                sink.sendall(data)
                passed += len(data)
                self.carried += len(data) if back else 0
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def wire(target: str = "") -> Iterator[Wire]:
    one = Wire(target)
    try:
        yield one
    finally:
        one.close()
