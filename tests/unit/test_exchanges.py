"""What the log says of requests over HTTP."""

from __future__ import annotations

import logging

import pytest

from modelcar.exchanges import Exchange, public_url, told

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
