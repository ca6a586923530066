"""What an upstream that works answers: requests and answers as values, without a socket."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from tests.e2e.shim_proof.library import Catalog, Repository
from tests.e2e.shim_proof.tokens import read_auth

__all__ = ["Answer", "Asked", "Part", "answer", "cdn_answer", "signed", "whole"]

_ROUTE: Final = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs|tags|referrers)/(?P<what>[^/]+)")
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
_SIGNATURE: Final = "CDN-SIGNATURE-c0ffee"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A request. Header names are lower-case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]

    @property
    def range(self) -> str:
        return self.headers.get("range", "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """`length` bytes of a file from `offset`, of a file of `total`."""

    file: Path
    offset: int
    length: int
    total: int


@dataclass(kw_only=True, slots=True)
class Answer:
    """`headers` have no Content-Length: it follows from the body, unless a fault changes it."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Part = b""

    @property
    def length(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.body.length


def answer(folder: Path, address: str, asked: Asked) -> Answer:
    """As a registry with this folder's catalog, on this address."""
    catalog: Catalog = json.loads((folder / "catalog.json").read_text())
    auth, authorization = read_auth(folder), asked.headers.get("authorization", "")
    if asked.path == "/token" and auth is not None:
        private = [name for name, entry in catalog.items() if entry["private"]]
        token = auth.issue(asked.query, authorization, private)
        return _error(401, "UNAUTHORIZED") if token is None else _json({"token": token, "expires_in": auth.lifetime})
    route = _ROUTE.fullmatch(unquote(asked.path))
    name = route["name"] if route else None
    if auth is not None and not auth.allows(authorization, name):
        refused = _error(401, "UNAUTHORIZED")
        refused.headers["WWW-Authenticate"] = auth.challenge(address, name)
        return refused
    if asked.path == "/v2/":
        return _json({})
    if route is None or route["name"] not in catalog:
        return _error(404, "NAME_UNKNOWN")
    return _content(folder, asked, catalog[route["name"]], route)


def cdn_answer(folder: Path, asked: Asked) -> Answer:
    """As storage behind signed addresses."""
    if _SIGNATURE not in asked.query:
        return Answer(status=403, body=b"AccessDenied")
    return _ranged(asked, folder / "blobs" / asked.path.rpartition("/")[2], {"Content-Type": "binary/octet-stream"})


def signed(address: str, digest: str) -> str:
    return f"http://{address}/cdn/{digest.removeprefix('sha256:')}?X-Signature={_SIGNATURE}&Expires=600"


def whole(file: Path) -> Part:
    size = file.stat().st_size
    return Part(file=file, offset=0, length=size, total=size)


def _content(folder: Path, asked: Asked, entry: Repository, route: re.Match[str]) -> Answer:
    what = route["what"]
    if route["kind"] == "manifests":
        digest = entry["tags"].get(what, what)
        if digest not in entry["manifests"]:
            return _error(404, "MANIFEST_UNKNOWN")
        headers = {"Content-Type": entry["manifests"][digest], "Docker-Content-Digest": digest}
        return Answer(status=200, headers=headers, body=whole(_file(folder, digest)))
    if route["kind"] == "blobs":
        if what not in entry["blobs"]:
            return _error(404, "BLOB_UNKNOWN")
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": what}
        return _ranged(asked, _file(folder, what), headers)
    if route["kind"] == "tags":
        return _json({"name": route["name"], "tags": sorted(entry["tags"])})
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}
    return _json(index, "application/vnd.oci.image.index.v1+json")


def _ranged(asked: Asked, file: Path, headers: dict[str, str]) -> Answer:
    everything = whole(file)
    match = _RANGE.fullmatch(asked.range)
    if match is None or match.groups() == ("", ""):
        return Answer(status=200, headers={**headers, "Accept-Ranges": "bytes"}, body=everything)
    total = everything.total
    first = int(match[1]) if match[1] else max(0, total - int(match[2]))
    last = min(int(match[2]), total - 1) if match[1] and match[2] else total - 1
    if first > last:
        return Answer(status=416, headers={"Content-Range": f"bytes */{total}"})
    headers = {**headers, "Content-Range": f"bytes {first}-{last}/{total}"}
    return Answer(status=206, headers=headers, body=Part(file=file, offset=first, length=last - first + 1, total=total))


def _file(folder: Path, digest: str) -> Path:
    return folder / "blobs" / digest.removeprefix("sha256:")


def _json(value: object, media_type: str = "application/json") -> Answer:
    return Answer(status=200, headers={"Content-Type": media_type}, body=json.dumps(value).encode())


def _error(status: int, code: str) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
    return Answer(status=status, headers={"Content-Type": "application/json"}, body=body)
