"""The log: one line each, nothing secret, nothing that a client could forge."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from modelcar.serving.exchange import Exchange
from modelcar.serving.logs import configure, formatter
from modelcar.serving.messages import Request, Response
from modelcar.serving.settings import Level, LogFormat, LogSettings
from registry_shim.operations.access import AccessLog, Observers

SECRET = "c2VjcmV0LXNlY3JldA"
DIGEST = "sha256:" + "ab" * 32


def record(message: str, *arguments: object, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("registry_shim", logging.WARNING, "", 0, message, arguments, None)
    made.__dict__.update(extra)
    return made


def lines(format_: LogFormat, made: logging.LogRecord) -> str:
    line = formatter("registry-shim", format_).format(made)
    assert "\n" not in line
    assert "\x1b" not in line
    return line


@pytest.fixture
def log() -> io.StringIO:
    stream = io.StringIO()
    configure("registry-shim", LogSettings(format=LogFormat.JSON, level=Level.INFO), stream)
    return stream


@pytest.mark.parametrize("format_", list(LogFormat))
def test_what_a_client_made_up_stays_on_its_line(format_: LogFormat) -> None:
    forged = 'x\nlevel=error message="root logged in"\r\x1b[2J'
    line = lines(format_, record("PUT %s", forged, repository=forged, status=200))
    if format_ is LogFormat.LOGFMT:
        assert " level=error" not in line.replace('"', "").split("message=", 1)[0]


def test_json() -> None:
    document = json.loads(lines(LogFormat.JSON, record("hello", status=200, complete=False, authorization=SECRET)))
    assert document["message"] == "hello"
    assert (document["status"], document["complete"], document["level"]) == (200, False, "warning")
    assert "authorization" not in document


def test_logfmt() -> None:
    line = lines(LogFormat.LOGFMT, record("hello there", status=200, repository="a/b", subject='x "y"'))
    assert line.endswith('level=warning message="hello there" subject="x \\"y\\"" repository=a/b status=200')


def test_plain() -> None:
    assert lines(LogFormat.PLAIN, record("hello", status=200)) == "registry-shim: hello status=200"


@pytest.mark.parametrize("format_", list(LogFormat))
@pytest.mark.parametrize(
    "text",
    [
        f"refused Bearer {SECRET} by",
        f"refused Authorization: Basic {SECRET} by",
        f"cannot reach https://user:{SECRET}@host/x by",
        f"cannot reach https://cdn.example/blob?Signature={SECRET}&x=1 by",
    ],
)
def test_credentials_in_messages_are_left_out(format_: LogFormat, text: str) -> None:
    line = lines(format_, record("%s", text))
    assert SECRET not in line
    assert "[redacted]" in line
    assert " by" in line, "the rest is still there"


def test_an_error_is_one_line_and_no_traceback() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as e:
        made = logging.LogRecord("a", logging.ERROR, "", 0, "failed", (), (ValueError, e, e.__traceback__))
    assert lines(LogFormat.PLAIN, made) == "registry-shim: failed: ValueError: two lines"


def exchange(path: str, **fields: Any) -> Exchange:
    headers = {"authorization": f"Bearer {SECRET}", "cookie": SECRET}
    request = Request(
        method="GET", path=path, query={"token": [SECRET]}, headers=headers, client="10.0.0.5", subject="node-7"
    )
    values: dict[str, Any] = {"sent": 42, "seconds": 0.12345, "complete": True, **fields}
    notes: dict[str, str | int] = {"cache": "miss", "repository": "ghcr.io/a/b", "digest": DIGEST, "upstream": 40}
    notes["authorization"] = SECRET
    return Exchange(request=request, response=Response(status=200, notes=notes), **values)


def test_a_request_is_a_line_without_query_and_headers(log: io.StringIO) -> None:
    AccessLog().finished(exchange("/v2/ghcr.io/a/b/blobs/" + DIGEST))
    (line,) = log.getvalue().splitlines()
    document = json.loads(line)
    assert SECRET not in line
    assert {name: document[name] for name in ("client", "subject", "method", "route", "repository")} == {
        "client": "10.0.0.5",
        "subject": "node-7",
        "method": "GET",
        "route": "blob",
        "repository": "ghcr.io/a/b",
    }
    assert (document["digest"], document["status"]) == ("sha256:abababababab", 200)
    assert (document["bytes"], document["seconds"], document["upstream"]) == (42, 0.1235, 40)
    assert "complete" not in document


def test_requests_that_broke_off_say_so(log: io.StringIO) -> None:
    AccessLog().finished(exchange("/v2/a/tags/list", complete=False))
    assert json.loads(log.getvalue())["complete"] is False


def test_probes_and_scrapes_are_not_logged(log: io.StringIO) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/ui/data.json"):
        AccessLog().finished(exchange(path))
    assert log.getvalue() == ""


def test_several_look_at_one_exchange() -> None:
    class Seen:
        def __init__(self) -> None:
            self.events: list[str] = []

        def begun(self, request: Request) -> None:
            self.events.append(f"begun {request.path}")

        def finished(self, exchange: Exchange) -> None:
            self.events.append(f"finished {exchange.status}")

    one, other = Seen(), Seen()
    both = Observers([one, other])
    made = exchange("/v2/")
    both.begun(made.request)
    both.finished(made)
    assert one.events == other.events == ["begun /v2/", "finished 200"]
