"""A registry on raw sockets that counts what it sends, and misbehaves as its folder says.

python -m tests.e2e.shim_proof.upstream_program FOLDER PORT CDN_PORT
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import random
import socket
import struct
import sys
import termios
import zlib
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.e2e.shim_proof.answers import Answer, Asked, Part, answer, cdn_answer, signed, whole
from tests.e2e.shim_proof.counters import Counted, Counters
from tests.e2e.shim_proof.faults import Fault, Wrong, read_faults

_PIECE: Final = 128 << 10
_HEAD: Final = 64 << 10
_ENDLESS: Final = 8 << 30
_BOMB: Final = 1 << 30


class HangUp(Exception):
    """End the connection now."""


class Upstream:
    """One listening registry, and the CDN that it may send to."""

    def __init__(self, folder: Path, address: str, cdn: str) -> None:
        self._folder, self._address, self._cdn = folder, address, cdn
        self._counters = Counters(folder / "counters")
        self._journal = os.open(folder / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._met: Counter[int] = Counter()
        self._faults: list[Fault] = []
        self._read_at = 0

    async def serve(self, listener: socket.socket, *, is_cdn: bool) -> None:
        loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setblocking(False)
            self._counters.add(Counted.CONNECTIONS, 1)
            task = asyncio.create_task(self._connection(connection, is_cdn))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _connection(self, connection: socket.socket, is_cdn: bool) -> None:
        with connection:
            with suppress(OSError, HangUp, asyncio.IncompleteReadError):
                rest = b""
                while True:
                    head, rest = await _read_head(connection, rest)
                    await self._answer(connection, _parse(head), is_cdn)
            with suppress(OSError):  # what the peer never got does not count
                unsent = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]
                self._counters.add(Counted.BYTES, -unsent)
                self._counters.add(Counted.BLOB_BYTES, -unsent)

    async def _answer(self, connection: socket.socket, asked: Asked, is_cdn: bool) -> None:
        self._counters.add(Counted.REQUESTS, 1)
        line = {"method": asked.method, "path": asked.path, "query": asked.query, "cdn": is_cdn, **asked.headers}
        os.write(self._journal, json.dumps(line).encode() + b"\n")
        right = cdn_answer(self._folder, asked) if is_cdn else answer(self._folder, self._address, asked)
        fault = self._fault(asked) if right.status in (200, 206) else None
        if fault is not None:
            await self._wrong(connection, asked, right, fault)
        else:
            await self._send(connection, asked, right)

    def _fault(self, asked: Asked) -> Fault | None:
        read_at = (self._folder / "faults.json").stat().st_mtime_ns
        if read_at != self._read_at:
            self._read_at, self._faults = read_at, read_faults(self._folder)
            self._met.clear()
        for number, fault in enumerate(self._faults):
            concerned = fault.path in asked.path and fault.method in ("", asked.method)
            if not concerned or (fault.only_ranges and not asked.range):
                continue
            self._met[number] += 1
            met = self._met[number] - fault.skip
            if met > 0 and (not fault.times or met <= fault.times) and random.random() < fault.chance:
                return fault
        return None

    async def _wrong(self, connection: socket.socket, asked: Asked, right: Answer, fault: Fault) -> None:
        match fault.wrong:
            case Wrong.STATUS:
                retry = {"Retry-After": str(int(fault.seconds))} if fault.seconds else {}
                await self._send(connection, asked, Answer(status=fault.amount or 503, headers=retry, body=b"no"))
            case Wrong.DROP:
                raise HangUp
            case Wrong.CUT:
                await self._send(connection, asked, right, stop_after=fault.after)
                raise HangUp
            case Wrong.STALL:
                await self._send(connection, asked, right, pause=(fault.after, fault.seconds))
            case Wrong.SLOW:
                await self._send(connection, asked, right, rate=fault.amount)
            case Wrong.FLIP:
                await self._send(connection, asked, right, flip=fault.after)
            case Wrong.SHORT | Wrong.LONG:
                lie = right.length + (fault.amount if fault.wrong is Wrong.LONG else -fault.amount)
                await self._send(connection, asked, right, length=max(0, lie))
                raise HangUp
            case Wrong.ENDLESS | Wrong.HEADERS:
                await self._endless(connection, right, fault.wrong)
            case _:
                await self._send(connection, asked, self._changed(asked, right, fault))

    def _changed(self, asked: Asked, right: Answer, fault: Fault) -> Answer:
        part, headers = right.body, right.headers
        digest = asked.path.rpartition("/")[2]
        match fault.wrong:
            case Wrong.REDIRECT:
                return Answer(status=307, headers={"Location": signed(self._cdn, digest)})
            case Wrong.LOOP:
                return Answer(status=307, headers={"Location": f"http://{self._address}{asked.path}"})
            case Wrong.INWARDS:
                return Answer(status=307, headers={"Location": fault.target})
            case Wrong.BOMB:
                return Answer(status=right.status, headers={**headers, "Content-Encoding": "gzip"}, body=_bomb())
        if isinstance(part, bytes):
            return right
        match fault.wrong:
            case Wrong.WHOLE:
                headers.pop("Content-Range", None)
                return Answer(status=200, headers=headers, body=whole(part.file))
            case Wrong.OTHER:
                files = (self._folder / "blobs").iterdir()
                other = max((p for p in files if p != part.file), key=lambda p: p.stat().st_size)
                length = min(part.length, other.stat().st_size)
                return Answer(status=right.status, headers=headers, body=replace(part, file=other, length=length))
        offset = max(0, min(part.offset + fault.amount, part.total - part.length))
        if fault.wrong is Wrong.SHIFTED and "Content-Range" in headers:
            headers["Content-Range"] = f"bytes {offset}-{offset + part.length - 1}/{part.total}"
        return Answer(status=right.status, headers=headers, body=replace(part, offset=offset))

    async def _send(
        self,
        connection: socket.socket,
        asked: Asked,
        answered: Answer,
        *,
        length: int | None = None,
        stop_after: int | None = None,
        pause: tuple[int, float] | None = None,
        rate: int = 0,
        flip: int | None = None,
    ) -> None:
        headers = {**answered.headers, "Content-Length": str(answered.length if length is None else length)}
        await self._write(connection, _head(answered.status, headers), is_blob=False)
        if asked.method == "HEAD":
            return
        sent, is_blob, piece = 0, isinstance(answered.body, Part), min(_PIECE, rate // 10 or _PIECE)
        limit = answered.length if stop_after is None else min(stop_after, answered.length)
        while sent < limit:
            if pause is not None and sent >= pause[0]:
                await asyncio.sleep(pause[1])
                pause = None
            size = min(piece, limit - sent, max(1, pause[0] - sent) if pause else piece)
            data = _read(answered.body, sent, size)
            if flip is not None and sent <= flip < sent + size:
                data = data[: flip - sent] + bytes([data[flip - sent] ^ 1]) + data[flip - sent + 1 :]
            await self._write(connection, data, is_blob=is_blob)
            sent += size
            if rate:
                await asyncio.sleep(size / rate)

    async def _endless(self, connection: socket.socket, right: Answer, wrong: Wrong) -> None:
        status = f"HTTP/1.1 {right.status} OK\r\n"
        headers = "".join(f"{name}: {value}\r\n" for name, value in right.headers.items())
        end = "" if wrong is Wrong.HEADERS else "\r\n"
        await self._write(connection, f"{status}{headers}Connection: close\r\n{end}".encode(), is_blob=False)
        filler = bytes(_PIECE) if wrong is Wrong.ENDLESS else (b"X-Filler: " + b"a" * 1000 + b"\r\n") * 64
        for _ in range(_ENDLESS // len(filler)):
            await self._write(connection, filler, is_blob=False)
        raise HangUp

    async def _write(self, connection: socket.socket, data: bytes, *, is_blob: bool) -> None:
        await asyncio.get_running_loop().sock_sendall(connection, data)
        self._counters.add(Counted.BYTES, len(data))
        if is_blob:
            self._counters.add(Counted.BLOB_BYTES, len(data))


async def _read_head(connection: socket.socket, rest: bytes) -> tuple[bytes, bytes]:
    while b"\r\n\r\n" not in rest:
        more = await asyncio.get_running_loop().sock_recv(connection, _HEAD)
        if not more or len(rest) > _HEAD:
            raise HangUp
        rest += more
    head, _, rest = rest.partition(b"\r\n\r\n")
    return head, rest


def _parse(head: bytes) -> Asked:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Asked(method=method, path=path, query=query, headers=headers)


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode()


def _read(body: bytes | Part, offset: int, size: int) -> bytes:
    if isinstance(body, bytes):
        return body[offset : offset + size]
    file = os.open(body.file, os.O_RDONLY)
    try:
        return os.pread(file, size, body.offset + offset)
    finally:
        os.close(file)


def _bomb() -> bytes:
    member = zlib.compressobj(9, wbits=31)
    zeros = 16 << 20
    return (member.compress(bytes(zeros)) + member.flush()) * (_BOMB // zeros)


async def main(folder: Path, port: int, cdn_port: int) -> None:
    listeners = [socket.create_server(("127.0.0.1", number), backlog=4096) for number in (port, cdn_port)]
    for listener in listeners:
        listener.setblocking(False)
    addresses = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
    upstream = Upstream(folder, *addresses)
    new = folder / ".ready"
    new.write_text(" ".join(addresses))
    new.replace(folder / "ready")
    await asyncio.gather(*(upstream.serve(listener, is_cdn=bool(n)) for n, listener in enumerate(listeners)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
