"""What the log says of requests over HTTP."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
import urllib3

from modelcar.exchanges import Exchange, public_url, tell_of_libraries, told
from modelcar.registry.settings import ClientSettings
from modelcar.registry.transport import Transport
from modelcar.serving.logs import formatter
from modelcar.serving.settings import LogFormat

LOG = logging.getLogger("modelcar.test")


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://host:5000/v2/a/blobs/uploads/x?_state=MARKED&digest=d", "https://host:5000/v2/a/blobs/uploads/x"),
        ("https://user:MARKED@host/a#MARKED", "https://host/a"),
        ("http://[::1]:80/", "http://[::1]:80/"),
        ("https://MARKED@[bad/", "something that is no URL"),
    ],
)
def test_a_url_without_its_secrets(url: str, public: str) -> None:
    assert public_url(url) == public


def test_a_line_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "modelcar"):
        exchange = Exchange(LOG, "PUT", "https://host/a?MARKED")
        exchange.status, exchange.sent, exchange.received = 201, 7, 3
        exchange.over()
        exchange.broken("once is enough")
    [record] = caplog.records
    assert record.getMessage() == "PUT https://host/a"
    assert (vars(record)["status"], vars(record)["sent"], vars(record)["bytes"]) == (201, 7, 3)
    assert vars(record)["seconds"] >= 0


def test_no_line_where_nobody_wants_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "modelcar"):
        Exchange(LOG, "GET", "https://host/").over()
    assert caplog.records == []


def test_what_breaks_it_is_named_by_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG, "modelcar"),
        pytest.raises(OSError, match="MARKED"),
        told(LOG, "GET", "https://host/"),
    ):
        raise OSError("https://host/?MARKED")
    [record] = caplog.records
    assert record.getMessage() == "GET https://host/: OSError"
    assert vars(record)["status"] is None


class Sending(BaseHTTPRequestHandler):
    """Sends those who ask for `/first` to a signed URL, and puts a secret wherever one may be."""

    def do_GET(self) -> None:
        away = "/first" in self.path
        self.send_response(302 if away else 200)
        if away:
            self.send_header("Location", "/second?X-Signature=MARKED#MARKED")
        self.send_header("Set-Cookie", "session=MARKED")
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"MARKED")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """Its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Sending) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def told_of_libraries() -> Iterator[None]:
    tell_of_libraries(wanted=True)
    yield
    tell_of_libraries(wanted=False)


def by_requests(server: str) -> None:
    with requests.Session() as session:
        url = f"http://somebody:MARKED@{server}/first?token=MARKED#MARKED"
        session.get(url, headers={"X-Token": "MARKED"}, cookies={"a": "MARKED"}, data="MARKED", timeout=60)


def by_urllib3(server: str) -> None:
    with urllib3.PoolManager() as manager:
        manager.request("GET", f"http://{server}/first?token=MARKED", headers={"Authorization": "Bearer MARKED"})


def by_a_proxy(server: str) -> None:
    headers = urllib3.make_headers(proxy_basic_auth="somebody:MARKED")
    with urllib3.ProxyManager(f"http://{server}", proxy_headers=headers) as manager:
        for path in ("first", "second"):
            manager.request("GET", f"http://{server}/{path}?token=MARKED", redirect=False)


@pytest.mark.slow
@pytest.mark.parametrize("ask", [by_requests, by_urllib3, by_a_proxy])
def test_requests_of_libraries(
    server: str, caplog: pytest.LogCaptureFixture, told_of_libraries: None, ask: Callable[[str], None]
) -> None:
    caplog.handler.setFormatter(formatter("modelcar", LogFormat.PLAIN))
    ask(server)
    assert caplog.text.splitlines() == [
        f"modelcar: connecting to {server}",
        f"modelcar: GET http://{server}/first status=302",
        f"modelcar: GET http://{server}/second status=200",
    ]
    assert "MARKED" not in "".join(str(vars(record)) for record in caplog.records)


@pytest.mark.slow
def test_requests_of_libraries_go_untold_otherwise(server: str, caplog: pytest.LogCaptureFixture) -> None:
    tell_of_libraries(wanted=True)
    tell_of_libraries(wanted=False)
    by_requests(server)
    assert caplog.records == []


def test_what_libraries_warn_of_is_always_said(caplog: pytest.LogCaptureFixture, told_of_libraries: None) -> None:
    logging.getLogger("urllib3.connectionpool").warning("Connection pool is full")
    logging.getLogger("urllib3.connectionpool").debug("Incremented Retry for (url='%s'): %r", "/?MARKED", "MARKED")
    assert [record.getMessage() for record in caplog.records] == ["Connection pool is full"]


@pytest.mark.slow
def test_a_request_of_our_own_is_told_of_once(
    server: str, caplog: pytest.LogCaptureFixture, told_of_libraries: None
) -> None:
    transport = Transport(ClientSettings(plain_http=True))
    with caplog.at_level(logging.DEBUG, "modelcar"):
        transport.request("GET", f"http://{server}/second?token=MARKED", {}).discard()
        by_urllib3(server)
    transport.close()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("modelcar")] == [
        f"GET http://{server}/second"
    ]
    assert sum(record.name.startswith("urllib3") for record in caplog.records) == 3
    assert "MARKED" not in caplog.text
