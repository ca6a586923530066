"""ClamAV as a plug-in, against a daemon of a few lines; the real one has its turn in `tests/e2e/test_clamav.py`."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import pytest

from modelcar.errors import UsageError
from modelcar.scanning.content import Content, literal
from modelcar.scanning.findings import Finding
from modelcar.scanning.limits import Limits
from modelcar.scanning.plugins import FileUnderScan
from modelcar.scanning.plugins.clamav import ClamAV
from modelcar.scanning.plugins.clamd import Clamd, find_clamd
from modelcar.scanning.plugins.run import run_plugins
from tests.unit.scanning.plugins.conftest import loaded

pytestmark = pytest.mark.slow

TOO_DEEP = b"stream: Heuristics.Limits.Exceeded.MaxRecursion FOUND\0"
Answer = Callable[[bytes], bytes]


class FakeClamd:
    """Answers each stream by `answer`; takes no more than `most` bytes. `streams` are those that came, whole."""

    def __init__(self, server: socket.socket, answer: Answer, most: int) -> None:
        self.server, self.answer, self.most = server, answer, most
        self.streams: list[bytes] = []
        self.outspoken = True

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream, suppress(BrokenPipeError):
                connection.sendall(self.reply(stream.read))

    def reply(self, read: Callable[[int], bytes]) -> bytes:
        command = b""
        while not command.endswith(b"\0"):
            command += read(1)
        if command == b"zVERSION\0":
            return b"ClamAV 1.4.6/27500/Fri Nov 20 09:00:00 2026\0"
        assert command == b"zINSTREAM\0"
        data = b""
        while size := int.from_bytes(header := read(4)):
            data += read(size)
            if len(data) > self.most:
                return b"INSTREAM size limit exceeded. ERROR\0"
        if len(header) < 4:  # they hung up
            return b""
        if data.startswith(b"\x1f\x8b"):
            return TOO_DEEP if self.outspoken else b"stream: OK\0"
        self.streams.append(data)
        return self.answer(data)


@contextmanager
def clamd(answer: Answer | bytes, most: int = 1 << 30, *, tcp: bool = False) -> Iterator[tuple[FakeClamd, Clamd]]:
    replies = answer if callable(answer) else lambda _: answer
    with TemporaryDirectory() as folder, socket.socket(socket.AF_INET if tcp else socket.AF_UNIX) as server:
        server.bind(("127.0.0.1", 0) if tcp else f"{folder}/s")
        server.listen()
        fake = FakeClamd(server, replies, most)
        thread = Thread(target=fake.serve)
        thread.start()
        try:
            address = f"127.0.0.1:{server.getsockname()[1]}" if tcp else f"unix:{folder}/s"
            yield fake, Clamd.parse(address)
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def scan(
    clamd: Clamd, data: bytes, *, formats: tuple[str, ...] = (), part: int = 16 << 20, seconds: float = 30
) -> list[Finding]:
    file = FileUnderScan(path="model.bin", content=literal(data), formats=formats)
    return run_plugins([loaded(ClamAV(clamd, part))], file, Limits(seconds=seconds))


def ids(findings: list[Finding]) -> list[str]:
    return [finding.rule.id for finding in findings]


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, 3_000_000])
def test_it_gets_the_file_byte_for_byte(size: int, tcp: bool) -> None:
    data = os.urandom(size)
    with clamd(b"stream: OK\0", tcp=tcp) as (fake, client):
        assert scan(client, data) == []
    assert fake.streams == [data]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("Unix.Trojan.Mirai-1", "scanner.malicious"),
        ("Own.Signature.UNOFFICIAL", "scanner.malicious"),
        ("Heuristics.Encrypted.Zip", "scanner.suspicious"),
        ("PUA.Win.Packer.X", "scanner.suspicious"),
        ("Heuristics.Limits.Exceeded.MaxScanTime", "scanner.failed"),
    ],
)
def test_what_it_finds(name: str, rule: str) -> None:
    with clamd(f"stream: {name} FOUND\0".encode()) as (_, client):
        (finding,) = scan(client, b"x")
    assert finding.rule.id == rule
    assert name in finding.detail


@pytest.mark.parametrize(
    "reply",
    [
        b"UNKNOWN COMMAND\0",
        b"stream: Cannot allocate memory ERROR\0",
        b"stream: OK",
        b"stream: OK\n\0",
        b"OK\0",
        b"",
        b"x" * 100_000,
        b"stream: X FOUND. Or not\0",
    ],
)
def test_whatever_else_it_says_is_a_failure(reply: bytes) -> None:
    with clamd(reply) as (_, client):
        assert ids(scan(client, b"x")) == ["scanner.failed"]


def test_a_daemon_that_does_not_tell_what_it_skips_is_not_believed() -> None:
    with clamd(b"stream: OK\0") as (fake, client):
        fake.outspoken = False
        (finding,) = scan(client, b"x")
    assert finding.rule.id == "scanner.failed"
    assert "AlertExceedsMax" in finding.detail


def test_no_daemon() -> None:
    (finding,) = scan(Clamd("/nonexistent/clamd.ctl"), b"x")
    assert finding.detail == "clamav: clamd at /nonexistent/clamd.ctl cannot be reached: No such file or directory"


def test_a_daemon_that_says_nothing() -> None:
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/s")
        server.listen()
        (finding,) = scan(Clamd(f"{folder}/s"), b"x", seconds=0.1)
    assert finding.rule.id == "scanner.failed"
    assert "in time" in finding.detail or "too long" in finding.detail


def test_a_file_that_is_too_large_is_a_failure() -> None:
    with clamd(b"stream: OK\0", most=2_000_000) as (_, client):
        for formats in ((), ("zip",), ("safetensors", "zip")):
            (finding,) = scan(client, bytes(5_000_000), formats=formats)
            assert finding.rule.id == "scanner.failed"
            assert "5000000 bytes are more than its limits allow" in finding.detail


def test_numbers_that_are_too_large_go_in_parts_that_overlap() -> None:
    data = os.urandom(7_000_000)
    with clamd(b"stream: OK\0", most=3_000_000) as (fake, client):
        assert ids(scan(client, data, formats=("safetensors",), part=3_000_000)) == ["scanner.remark"]
    position = 0
    for part in fake.streams:
        start = data.index(part)
        assert start <= max(0, position - (1 << 20))
        position = start + len(part)
    assert position == len(data)


def test_what_is_in_a_part_is_found_even_across_a_border() -> None:
    data = bytearray(8_000_000)
    data[2_999_990:3_000_010] = b"a payload of 20 byte"

    def answer(part: bytes) -> bytes:
        return b"stream: Worm.X FOUND\0" if b"a payload of 20 byte" in part else b"stream: OK\0"

    with clamd(answer, most=3_000_000) as (_, client):
        findings = scan(client, bytes(data), formats=("gguf",), part=3_000_000)
    assert ids(findings) == ["scanner.malicious", "scanner.remark"]
    assert findings[0].offset == 3_000_000 - (1 << 20)


def test_parts_that_are_refused_are_a_failure() -> None:
    with clamd(b"stream: OK\0", most=1_000_000) as (_, client):
        assert ids(scan(client, bytes(5_000_000), formats=("gguf",), part=3_000_000)) == ["scanner.failed"]


def test_a_file_that_becomes_shorter_is_a_failure() -> None:
    content = Content(lambda offset, n: b"x" * min(n, 10 - offset), 20)
    with clamd(b"stream: OK\0") as (_, client):
        file = FileUnderScan(path="model.bin", content=content)
        (finding,) = run_plugins([loaded(ClamAV(client))], file, Limits())
    assert finding.detail == "clamav: the file ends earlier than a moment ago"


def test_its_version_names_the_database() -> None:
    with clamd(b"") as (_, client):
        assert ClamAV(client).version() == "1.4.6/27500/Fri Nov 20 09:00:00 2026"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/run/s", "/run/s"),
        ("unix:/run/s", "/run/s"),
        ("clamd:3310", ("clamd", 3310)),
        ("tcp://10.0.0.1:3310", ("10.0.0.1", 3310)),
        ("[::1]:3310", ("::1", 3310)),
    ],
)
def test_addresses(text: str, address: str | tuple[str, int]) -> None:
    assert find_clamd({"MODELCAR_CLAMD": text}).address == address


@pytest.mark.parametrize("text", ["clamd", "run/s", "unix:s", "h:0", "h:65536", "http://h:1", "h:1/x", "a b:x"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="neither a socket's path nor host:port"):
        find_clamd({"MODELCAR_CLAMD": text})


def test_without_an_address_a_usual_place_is_named() -> None:
    address = find_clamd({}).address
    assert isinstance(address, str)
    assert Path(address).is_absolute()
