"""The registry on its sockets, one thread a connection."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast
from urllib.parse import parse_qs, unquote, urlsplit

from modelcar.testing.registry.api import Api
from modelcar.testing.registry.counters import Counters, Seen
from modelcar.testing.registry.faults import FaultPlan, Wrong
from modelcar.testing.registry.messages import Asked, HangUp, Refused, Told
from modelcar.testing.registry.wire import RequestBody, Shaper, Wire, answer_blocks, status_of

__all__ = ["Site", "listen"]

_BUFFER: Final = 128 << 10  # bytes; small, so that little is under way that a side that is gone never gets


class Site:
    """What the registry and the other host have in common."""

    def __init__(self, api: Api, counters: Counters, plan: FaultPlan, shaper: Shaper) -> None:
        self.api, self.counters, self.plan, self.shaper = api, counters, plan, shaper


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, listener: socket.socket, site: Site, *, elsewhere: bool) -> None:
        self.site, self.elsewhere = site, elsewhere
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up; that is what this is for."""


def listen(listener: socket.socket, site: Site, *, elsewhere: bool = False) -> None:
    """Answer on a listening socket, in threads that end with the process."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)  # connections inherit it
    server = _Server(listener, site, elsewhere=elsewhere)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        super().setup()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()

    def log_message(self, *_args: Any) -> None:
        """The journal has it."""

    def _serve(self) -> None:
        site, parts = self.server.site, urlsplit(self.path)
        path = unquote(parts.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        upload = self.command in ("POST", "PUT", "PATCH") and "/blobs/uploads/" in path
        wire = Wire(site.plan, site.counters, site.shaper, self.command)
        body = RequestBody(cast("Any", self.rfile), headers, wire if upload else None)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        asked = Asked(method=self.command, path=path, query=query, headers=headers, body=body)
        site.counters.begins()
        status, unsent = 0, 0
        try:
            told = self._told(asked, wire)
            status = told.status
            self.close_connection = self.close_connection or not body.ended
            self._send(told, asked, wire)
            body.drain()
        except HangUp:
            self.close_connection = True
        except OSError:
            self.close_connection, unsent = True, _unsent(self.connection)
        finally:
            site.counters.ends(
                Seen(
                    method=asked.method,
                    path=path,
                    query=parts.query,
                    headers={name: value for name, value in headers.items() if name != "authorization"},
                    status=status,
                    received=wire.moved if upload else 0,
                    sent=0 if upload else max(0, wire.moved - unsent),
                    fault=str(wire.fault.wrong) if wire.fault is not None else "",
                )
            )

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  # the standard library's names

    def _told(self, asked: Asked, wire: Wire) -> Told:
        site = self.server.site
        blob = "/blobs/uploads/" in asked.path and not asked.body.ended
        fault = site.plan.for_request(asked.method, asked.path, asked.body.length, blob=blob)
        if fault is not None:
            wire.arm(fault, now=blob)
            if fault.wrong is Wrong.STATUS and not blob:
                return status_of(fault)
        try:
            return site.api.answer_elsewhere(asked) if self.server.elsewhere else site.api.answer(asked, fault)
        except Refused as e:
            return e.told

    def _send(self, told: Told, asked: Asked, wire: Wire) -> None:
        self.send_response_only(told.status)
        for name, value in told.headers.items():
            self.send_header(name, value)
        if told.status != 204:
            self.send_header("Content-Length", str(told.length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if asked.method == "HEAD":
            return
        if isinstance(told.body, bytes):
            self.wfile.write(told.body)
            return
        fault = self.server.site.plan.for_answer(asked.method, asked.path, told.length)
        if fault is not None:
            wire.arm(fault, now=True)
        for block in answer_blocks(told.body, wire):
            self.connection.sendall(block)


def _unsent(connection: socket.socket) -> int:
    """What a client that is gone never took has not moved."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0])
    except OSError:
        return 0
