"""Whatever comes back from another process or a daemon: it is understood, or it is a failure; it is never a yes."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from tempfile import TemporaryDirectory
from threading import Thread

from hypothesis import example, given
from hypothesis import strategies as st

from modelcar.errors import UsageError
from modelcar.scanning.findings import Severity
from modelcar.scanning.plugins import PluginFinding, ScannerFailed
from modelcar.scanning.plugins.clamd import Clamd
from modelcar.scanning.plugins.messages import DONE_LINE, finding_line, parse_line

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["done", "failed", "finding"]), inner),
    max_leaves=6,
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 100_000)
@example(b'{"finding": {"severity": [], "title": "", "detail": "", "offset": null, "member": ""}}')
@example(b"9" * 10_000)
def test_a_line_is_a_finding_or_the_last_one_or_a_failure(line: bytes) -> None:
    try:
        said = parse_line(line)
    except ScannerFailed:
        return
    assert said is not None or json.loads(line)["done"] is True


@given(
    severity=st.sampled_from(Severity),
    title=st.text(st.characters()),
    detail=st.text(st.characters()),
    offset=st.none() | st.integers(0),
    member=st.text(st.characters()),
)
def test_findings_survive_the_way(severity: Severity, title: str, detail: str, offset: int | None, member: str) -> None:
    finding = PluginFinding(severity=severity, title=title, detail=detail, offset=offset, member=member)
    line = finding_line(finding)
    assert line.isascii()
    assert "\n" not in line
    assert parse_line(line.encode()) == finding
    assert parse_line(DONE_LINE.encode()) is None


@given(
    st.binary(max_size=60) | st.text(max_size=30).map(lambda text: f"stream: {text} FOUND\0".encode("utf-8", "replace"))
)
@example(b"stream: OK\0")
@example(b"stream: OK")
@example(b"stream: OK\0\0")
@example(b" stream: OK\0")
def test_only_ok_is_ok(reply: bytes) -> None:
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/s")
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(reply)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

        thread = Thread(target=serve)
        thread.start()
        try:
            found = Clamd(f"{folder}/s").scan([b"x"], lambda: 5.0)
        except ScannerFailed:
            found = "?"
        finally:
            thread.join()
    assert (found is None) == (reply == b"stream: OK\0")


@given(st.text() | st.from_regex(r"(unix:|tcp://)?[a-z/.\[\]]*:?[0-9]*"))
def test_an_address_is_one_or_is_refused(text: str) -> None:
    with suppress(UsageError):
        assert Clamd.parse(text).address
