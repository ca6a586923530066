"""Ranges straight to their place: what is taken, and what is left to the client that knows more."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from modelcar.checkpoint.ranges import Ranges
from modelcar.errors import StorageError
from tests.support.hub import Failure, FakeHub, Repo

pytestmark = pytest.mark.slow

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.storage = False
        hub.repos["org/name"] = Repo({"w.bin": CONTENT})
        yield hub


@pytest.fixture
def ranges() -> Iterator[Ranges]:
    ranges = Ranges(5.0, ssl.create_default_context)
    with closing(ranges):
        yield ranges


def url(hub: FakeHub) -> str:
    return f"{hub.endpoint}/org/name/resolve/main/w.bin"


def into(target: bytearray) -> Callable[[int, memoryview], None]:
    def write(offset: int, data: memoryview) -> None:
        target[offset : offset + len(data)] = data

    return write


def get(ranges: Ranges, hub: FakeHub, start: int, stop: int, total: int = len(CONTENT)) -> tuple[int, bytes]:
    target = bytearray(len(CONTENT))
    came = ranges.get(url(hub), {}, start, stop, total, into(target))
    return came, bytes(target[start : start + came])


def test_a_range_comes_to_its_place(ranges: Ranges, hub: FakeHub) -> None:
    assert get(ranges, hub, 1000, 900_000) == (899_000, CONTENT[1000:900_000])
    assert get(ranges, hub, 900_000, len(CONTENT)) == (len(CONTENT) - 900_000, CONTENT[900_000:])


def test_a_file_of_another_size_is_not_taken(ranges: Ranges, hub: FakeHub) -> None:
    assert get(ranges, hub, 0, 1000, total=len(CONTENT) + 1) == (0, b"")


@pytest.mark.parametrize("status", [403, 404, 429, 503])
def test_a_refusal_is_left_to_others(ranges: Ranges, hub: FakeHub, status: int) -> None:
    hub.failures["org/name"] = Failure(status)
    assert get(ranges, hub, 0, 1000) == (0, b"")


def test_what_came_before_the_line_broke_counts(ranges: Ranges, hub: FakeHub) -> None:
    hub.failures["org/name"] = Failure(0, cut=300_000, times=2, path="w.bin")  # it asks twice whether there is one
    came, data = get(ranges, hub, 0, len(CONTENT))
    assert 0 < came <= 300_000
    assert data == CONTENT[:came]
    assert get(ranges, hub, came, len(CONTENT)) == (len(CONTENT) - came, CONTENT[came:])


def test_nobody_answers(ranges: Ranges, hub: FakeHub) -> None:
    target = bytearray(10)
    assert ranges.get("http://127.0.0.1:1/w.bin", {}, 0, 10, 10, into(target)) == 0


def test_proxies_are_left_to_others(ranges: Ranges, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert get(ranges, hub, 0, 1000)[0] == 0
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert get(ranges, hub, 0, 1000)[0] == 1000


def test_a_full_disk_is_said(ranges: Ranges, hub: FakeHub) -> None:
    def write(offset: int, data: memoryview) -> None:
        raise StorageError("no room")

    with pytest.raises(StorageError, match="no room"):
        ranges.get(url(hub), {}, 0, 1000, len(CONTENT), write)


def info(hub: FakeHub) -> str:
    return f"{hub.endpoint}/api/models/org/name/revision/main"


def test_a_document_comes_whole_with_its_headers(ranges: Ranges, hub: FakeHub) -> None:
    answers = [ranges.document(info(hub), {}) for _ in range(2)]
    for answer in answers:
        assert answer is not None
        body, headers = answer
        assert json.loads(body)["id"] == "org/name"
        assert headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize("status", [307, 401, 404, 429, 503])
def test_a_document_that_is_refused_is_left_to_others(ranges: Ranges, hub: FakeHub, status: int) -> None:
    hub.failures["org/name"] = Failure(status)
    assert ranges.document(info(hub), {}) is None


def test_a_document_that_is_too_long_is_left_to_others(
    ranges: Ranges, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelcar.checkpoint.ranges._LONGEST_DOCUMENT", len(CONTENT) - 1)
    assert ranges.document(url(hub), {}) is None
    monkeypatch.setattr("modelcar.checkpoint.ranges._LONGEST_DOCUMENT", len(CONTENT))
    answer = ranges.document(url(hub), {})
    assert answer is not None
    assert answer[0] == CONTENT


def test_a_document_that_nobody_gives_or_a_proxy_has(
    ranges: Ranges, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ranges.document("http://127.0.0.1:1/info", {}) is None
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert ranges.document(info(hub), {}) is None
