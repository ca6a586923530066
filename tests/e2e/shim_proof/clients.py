"""Clients that believe nothing: each byte is compared with what the upstream was given."""

from __future__ import annotations

import http.client
import mmap
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.e2e.shim_proof.library import MANIFEST, Blob
from tests.e2e.shim_proof.node import NAME

__all__ = ["Defect", "Download", "Reply", "blob_path", "download", "get", "manifest_path"]

_BUFFER: Final = 256 << 10
_SILENCE: Final = 60.0  # seconds without a byte after which a client hangs up
_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504, 507})
_PAUSE: Final = 0.1


class Defect(AssertionError):
    """What the shim must never do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A whole answer. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """What a client wants of a blob: from `offset` up to `end`, hanging up after `leave_after` bytes if that is set."""

    path: str
    blob: Blob
    offset: int = 0
    end: int | None = None
    leave_after: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def stop(self) -> int:
        return self.blob.size if self.end is None else min(self.end, self.blob.size)


def blob_path(repository: str, digest: str, name: str = NAME) -> str:
    return f"/v2/{name}/{repository}/blobs/{digest}"


def manifest_path(repository: str, reference: str, name: str = NAME) -> str:
    return f"/v2/{name}/{repository}/manifests/{reference}"


def get(
    address: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    within: float = _SILENCE,
) -> Reply:
    """One request on a connection of its own. Raises `OSError` or `HTTPException` if there is no whole answer."""
    connection = http.client.HTTPConnection(address, timeout=within)
    try:
        connection.request(method, path, headers={"Accept": MANIFEST, **(headers or {})})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    return Reply(status=answer.status, headers={k.lower(): v for k, v in answer.getheaders()}, body=body)


def download(address: str, want: Download, *, within: float = 120.0) -> int:
    """Take what is wanted, going on by Range after errors that may pass, as engines do; returns attempts.

    Raises:
        Defect: a wrong byte, a wrong header, a final refusal, or not done `within` seconds.
    """
    deadline, position, attempts = time.monotonic() + within, want.offset, 0
    with _mapped(want.blob) as truth:
        while position < want.stop:
            if time.monotonic() > deadline:
                raise Defect(f"at {position} of {want.stop} bytes after {within:.0f} s and {attempts} attempts")
            attempts += 1
            before = position
            try:
                position = _attempt(address, want, position, truth)
            except (OSError, http.client.HTTPException):
                time.sleep(_PAUSE * random.uniform(0.5, 1.5))
            if want.leave_after is not None and position - want.offset >= want.leave_after:
                return attempts
            if position == before:
                time.sleep(_PAUSE * random.uniform(0.5, 1.5))
    return attempts


def _attempt(address: str, want: Download, position: int, truth: mmap.mmap) -> int:
    connection = http.client.HTTPConnection(address, timeout=_SILENCE)
    try:
        partial = position > 0 or want.end is not None
        last = "" if want.end is None else str(want.stop - 1)
        asked = {"Range": f"bytes={position}-{last}"} if partial else {}
        connection.request("GET", want.path, headers={**asked, **want.headers})
        answer = connection.getresponse()
        if answer.status in _AGAIN:
            return position
        _check_head(answer, want, position, 206 if partial else 200)
        return _check_body(answer, want, position, truth)
    finally:
        connection.close()


def _check_head(answer: http.client.HTTPResponse, want: Download, position: int, status: int) -> None:
    if answer.status != status:
        raise Defect(f"{want.path} from {position}: status {answer.status}, {answer.read(2000)!r}")
    if answer.getheader("Content-Encoding") is not None:
        raise Defect(f"Content-Encoding {answer.getheader('Content-Encoding')}")
    content_range = answer.getheader("Content-Range")
    if status == 206 and content_range != f"bytes {position}-{want.stop - 1}/{want.blob.size}":
        raise Defect(f"Content-Range {content_range} for bytes from {position} to {want.stop - 1}")
    if answer.getheader("Content-Length") != str(want.stop - position):
        raise Defect(f"Content-Length {answer.getheader('Content-Length')}, not {want.stop - position}")


def _check_body(answer: http.client.HTTPResponse, want: Download, position: int, truth: mmap.mmap) -> int:
    buffer = bytearray(_BUFFER)
    view = memoryview(buffer)
    try:
        while n := answer.readinto(view):
            if bytes(view[:n]) != truth[position : position + n]:
                raise Defect(f"wrong bytes between {position} and {position + n} of {want.blob.digest}")
            position += n
            if want.leave_after is not None and position - want.offset >= want.leave_after:
                break
    except (OSError, http.client.HTTPException):
        pass
    return position


@contextmanager
def _mapped(blob: Blob) -> Iterator[mmap.mmap]:
    with blob.path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as truth:
        yield truth
