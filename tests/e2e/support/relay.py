"""A network between a registry and its clients that does what a test wants: cut, slow, lying; and it counts."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

__all__ = ["Relay"]

_PIECE = 64 << 10
_LARGE = 16 << 10  # bytes of one piece of an answer from which on it is lied about: content, not headers


class Relay:
    """Listens at `address` and passes everything on to `target` (HOST:PORT).

    `cut()` hangs up and takes nobody any more, until `mend()`. `lies` flips a bit in every large piece of an answer;
    `rate` is bytes a second of all answers together; `passed` counts their bytes.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self.lies = False
        self.rate: float | None = None
        self.passed = 0
        self._lock = threading.Lock()
        self._free = 0.0
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._is_cut = False
        self._start(self._accept)

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            for each in self._sockets:
                _hang_up(each)

    def mend(self) -> None:
        self._is_cut = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        _hang_up(self._server)
        self.cut()
        while self._threads:
            self._threads.pop().join(10)
        self._server.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self._is_cut:
                client.close()
            else:
                self._start(self._connect, client)

    def _connect(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._target, timeout=10) as server:
            server.settimeout(None)
            with self._lock:
                self._sockets |= {client, server}
            try:
                asking = threading.Thread(target=self._pass, args=(client, server, False), daemon=True)
                asking.start()
                self._pass(server, client, True)
                asking.join()
            finally:
                with self._lock:
                    self._sockets -= {client, server}

    def _pass(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                sink.sendall(self._answer(data) if is_answer else data)
        for each in (source, sink):
            _hang_up(each)

    def _answer(self, data: bytes) -> bytes:
        with self._lock:
            self.passed += len(data)
            now = time.monotonic()
            self._free = max(self._free, now) + (len(data) / self.rate if self.rate else 0)
            wait = self._free - now
        time.sleep(wait)
        if self.lies and len(data) >= _LARGE:
            data = data[:-1] + bytes([data[-1] ^ 1])
        return data


def _hang_up(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
