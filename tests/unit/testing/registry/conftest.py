"""A registry in another process, and requests to it with nothing in between."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from modelcar.testing.registry import MisbehavingRegistry, Profile, running

Start = Callable[[str | Profile], MisbehavingRegistry]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda profile: stack.enter_context(running(profile))


def ask(
    registry: MisbehavingRegistry,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own; `target` is a path on the registry, or a URL."""
    parts = urlsplit(target)
    connection = http.client.HTTPConnection(parts.netloc or registry.address, timeout=30)
    try:
        query = f"?{parts.query}" if parts.query else ""
        connection.request(method, parts.path + query, body, headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def location(registry: MisbehavingRegistry, repository: str = "org/model") -> str:
    """A new upload session."""
    answer = ask(registry, "POST", f"/v2/{repository}/blobs/uploads/")
    assert answer.status == 202
    return str(answer.headers["Location"])


def closing(where: str, digest: str) -> str:
    return f"{where}{'&' if '?' in where else '?'}digest={digest}"
