"""Requests and answers, between the sockets and the registry's rules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

__all__ = ["Asked", "Body", "HangUp", "Lost", "Part", "Refused", "Told", "error"]


class Body(Protocol):
    """A request's body, as it comes."""

    length: int | None
    """How much of it has not come yet; `None` where the client does not say."""
    ended: bool

    def blocks(self) -> Iterator[bytes]:
        """Its bytes; what a block brought has arrived, even if the next one is never going to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`path` is decoded, header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Body


@dataclass(frozen=True, slots=True)
class Part:
    """`size` bytes of a file from `offset` on."""

    file: Path
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Part = b""

    @property
    def length(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.body.size


class Refused(Exception):
    """The answer, given before the request was read to its end."""

    def __init__(self, told: Told) -> None:
        super().__init__(told.status)
        self.told = told


class Lost(Exception):
    """The upload session of the request has just been lost."""


class HangUp(Exception):
    """The connection ends now, without another byte."""


def error(status: int, code: str, headers: Mapping[str, str] | None = None) -> Told:
    """In the specification's format."""
    body = json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode()
    return Told(status=status, headers={"Content-Type": "application/json", **(headers or {})}, body=body)
