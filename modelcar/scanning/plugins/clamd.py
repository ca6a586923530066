"""ClamAV's daemon, in its own protocol: one command a connection, bytes in chunks that say how long they are.

The commands are in clamd(8).
"""

from __future__ import annotations

import math
import re
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.errors import UsageError
from modelcar.scanning.findings import shown
from modelcar.scanning.plugins.interface import ScannerFailed

__all__ = ["Clamd", "TooLarge", "find_clamd"]

VARIABLE: Final = "MODELCAR_CLAMD"
_HINT: Final = "/run/clamav/clamd.ctl or scanner.example.com:3310"
# Where Debian, Fedora, Alpine and clamd.conf's own example put it.
_USUAL: Final = (
    "/run/clamav/clamd.ctl",
    "/run/clamd.scan/clamd.sock",
    "/run/clamav/clamd.sock",
    "/tmp/clamd.sock",  # noqa: S108  # whoever puts another there can make no verdict better
)
_HOST: Final = re.compile(r"(?:tcp://)?(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:/\[\]]+)):(?P<port>[0-9]{1,5})")
_LONGEST_REPLY: Final = 1 << 16  # bytes
_CHUNK: Final = struct.Struct("!L")  # its length before every chunk; 0 ends the stream
_TOO_LARGE: Final = "INSTREAM size limit exceeded"

SecondsLeft = Callable[[], float]
"""What is left of the time, in seconds; raises `ScannerFailed` when it is over."""


class TooLarge(ScannerFailed):
    """clamd takes no stream of that size."""


@dataclass(frozen=True, slots=True)
class Clamd:
    """The daemon at `address`: the path of a socket, or a host and a port."""

    address: str | tuple[str, int]

    @classmethod
    def parse(cls, text: str) -> Clamd:
        """`/path`, `unix:/path`, `host:port` or `tcp://host:port`.

        Raises:
            UsageError: it is none of them.
        """
        path = text.removeprefix("unix:")
        if path.startswith("/"):
            return cls(path)
        match = _HOST.fullmatch(text)
        if match is None or not 0 < int(match["port"]) < 1 << 16:
            raise UsageError(f"{VARIABLE} is {shown(text)}, neither a socket's path nor host:port", hint=_HINT)
        return cls((match["v6"] or match["host"], int(match["port"])))

    def version(self, seconds: float) -> str:
        """Of the program and of its database, as it says it.

        Raises:
            ScannerFailed: it cannot be asked.
        """
        return self._command("VERSION", (), _countdown(seconds))

    def scan(self, pieces: Iterable[bytes], seconds_left: SecondsLeft) -> str | None:
        """What clamd calls the malware in a stream; `None` if it finds none.

        Raises:
            TooLarge: the stream is longer than it takes.
            ScannerFailed: it cannot be asked, or gives no answer.
        """
        reply = self._command("INSTREAM", pieces, seconds_left)
        if reply == "stream: OK":
            return None
        if reply.startswith("stream: ") and reply.endswith(" FOUND"):
            return reply.removeprefix("stream: ").removesuffix(" FOUND")
        if reply.startswith(_TOO_LARGE):
            raise TooLarge(f"clamd says: {reply}")
        raise ScannerFailed(f"clamd says: {reply}")

    def _command(self, command: str, pieces: Iterable[bytes], seconds_left: SecondsLeft) -> str:
        try:
            with self._connect(seconds_left()) as connection:
                connection.sendall(b"z%s\0" % command.encode())
                if command == "INSTREAM":
                    _send(connection, pieces, seconds_left)
                return _receive(connection, seconds_left)
        except TimeoutError:
            raise ScannerFailed("clamd does not answer in time") from None
        except OSError as e:
            raise ScannerFailed(f"clamd at {self} cannot be reached: {e.strerror or e}") from None

    def _connect(self, seconds: float) -> socket.socket:
        if isinstance(self.address, tuple):
            return socket.create_connection(self.address, timeout=seconds)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(seconds)
            connection.connect(self.address)
        except BaseException:
            connection.close()
            raise
        return connection

    def __str__(self) -> str:
        return self.address if isinstance(self.address, str) else f"{self.address[0]}:{self.address[1]}"


def find_clamd(environment: Mapping[str, str]) -> Clamd:
    """The one that `MODELCAR_CLAMD` names, else the first of the usual sockets that is there.

    Raises:
        UsageError: it names none.
    """
    if named := environment.get(VARIABLE):
        return Clamd.parse(named)
    return Clamd(next((path for path in _USUAL if Path(path).is_socket()), _USUAL[0]))


def _send(connection: socket.socket, pieces: Iterable[bytes], seconds_left: SecondsLeft) -> None:
    # Where it has heard enough it says why and hangs up; the reply is still there to be read.
    with suppress(BrokenPipeError, ConnectionResetError):
        for piece in pieces:
            if piece:
                connection.settimeout(seconds_left())
                connection.sendall(_CHUNK.pack(len(piece)))
                connection.sendall(piece)
        connection.sendall(_CHUNK.pack(0))


def _receive(connection: socket.socket, seconds_left: SecondsLeft) -> str:
    reply = b""
    while not reply.endswith(b"\0"):
        connection.settimeout(seconds_left())
        try:
            piece = connection.recv(4096)
        except ConnectionResetError:
            piece = b""
        if not piece:
            raise TooLarge("clamd hung up; its StreamMaxLength may be smaller than the file")
        reply += piece
        if len(reply) > _LONGEST_REPLY:
            raise ScannerFailed("clamd's answer has no end")
    return reply[:-1].decode("utf-8", "replace")


def _countdown(seconds: float) -> SecondsLeft:
    deadline = time.monotonic() + seconds if math.isfinite(seconds) else math.inf

    def left() -> float:
        if (rest := deadline - time.monotonic()) <= 0:
            raise ScannerFailed("clamd does not answer in time")
        return rest

    return left
