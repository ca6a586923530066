"""SRV records (RFC 2782), which the standard library cannot ask for."""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from modelcar.errors import WorldError
from registry_shim.peers.members import Member

__all__ = ["resolve_srv"]

_RESOLV_CONF: Final = Path("/etc/resolv.conf")
_SRV, _IN = 33, 1
_TIMEOUT: Final = 3.0  # seconds
_RECURSE: Final = 0x0100
_MOST_JUMPS: Final = 64


def resolve_srv(name: str, servers: list[tuple[str, int]] | None = None) -> list[Member]:
    """The targets of an SRV name, asked of the system's name servers over TCP, in whose answers all of them fit.

    Raises:
        WorldError: no server answers, or there is no such name.
    """
    problem = "there is no name server"
    for server in servers if servers is not None else _servers():
        try:
            return _ask(name, server)
        except OSError as e:
            problem = e.strerror or "no answer"
        except (ValueError, IndexError, struct.error, UnicodeError) as e:
            problem = str(e) or "an answer that makes no sense"
    raise WorldError(f"peers: {name} cannot be resolved: {problem}")


def _servers() -> list[tuple[str, int]]:
    try:
        lines = _RESOLV_CONF.read_text().splitlines()
    except OSError:
        return []
    return [(words[1], 53) for line in lines if len(words := line.split()) > 1 and words[0] == "nameserver"]


def _ask(name: str, server: tuple[str, int]) -> list[Member]:
    number = secrets.randbelow(1 << 16)
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".")]
    question = b"".join(bytes([len(label)]) + label for label in labels) + b"\0" + struct.pack("!HH", _SRV, _IN)
    query = struct.pack("!6H", number, _RECURSE, 1, 0, 0, 0) + question
    with socket.create_connection(server, timeout=_TIMEOUT) as sock:
        sock.sendall(struct.pack("!H", len(query)) + query)
        (length,) = struct.unpack("!H", _exactly(sock, 2))
        return list(_targets(_exactly(sock, length), number))


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise ValueError("the answer ends early")
        data += piece
    return data


def _targets(answer: bytes, number: int) -> Iterator[Member]:
    found, flags, questions, answers, _, _ = struct.unpack_from("!6H", answer)
    if found != number or not flags & 0x8000:
        raise ValueError("the answer is to another question")
    if flags & 0xF:
        raise ValueError("there is no such name" if flags & 0xF == 3 else "the name server fails")
    position = 12
    for _ in range(questions):
        _, position = _name(answer, position)
        position += 4
    for _ in range(answers):
        _, position = _name(answer, position)
        kind, _, _, length = struct.unpack_from("!HHIH", answer, position)
        position += 10
        if kind == _SRV:
            (port,) = struct.unpack_from("!H", answer, position + 4)
            target, _ = _name(answer, position + 6)
            if port and target:
                yield Member(target.lower(), port)
        position += length


def _name(answer: bytes, position: int) -> tuple[str, int]:
    """A name, and where what comes after it begins."""
    labels: list[str] = []
    after = 0
    for _ in range(_MOST_JUMPS):
        length = answer[position]
        if length & 0xC0 == 0xC0:
            after = after or position + 2
            position = struct.unpack_from("!H", answer, position)[0] & 0x3FFF
        elif length == 0:
            return ".".join(labels), after or position + 1
        else:
            labels.append(answer[position + 1 : position + 1 + length].decode("ascii"))
            position += 1 + length
    raise ValueError("a name that never ends")
