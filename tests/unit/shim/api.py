"""The distribution API without a socket: `api.put(...)` and what it answers."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from modelcar.oci import Descriptor, Digest
from modelcar.oci.media_types import CONFIG, INDEX, MANIFEST
from modelcar.serving.messages import BytesBody, Content, Request, Response
from registry_shim.distribution import Distribution
from registry_shim.distribution.context import Context

CONFIG_BLOB = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def codes(self) -> list[str]:
        return [error["code"] for error in self.json["errors"]]

    @property
    def code(self) -> str:
        """Of the first error."""
        return self.codes[0]


@dataclass
class Api:
    """Calls the API; `context` is what it works on."""

    context: Context
    repo: str = "org/model"
    _distribution: Distribution = field(init=False)

    def __post_init__(self) -> None:
        self._distribution = Distribution(self.context)

    def call(self, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        parts = urlsplit(url)
        request = Request(
            method=method,
            path=unquote(parts.path),
            query=parse_qs(parts.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in (headers or {}).items()},
            body=BytesBody(body),
        )
        return _answer(asyncio.run(self._distribution.handle(request)))

    def get(self, url: str, **headers: str) -> Answer:
        return self.call("GET", url, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def push_blob(self, content: bytes, *, algorithm: str = "sha256", repo: str | None = None) -> Digest:
        digest = Digest.of(content, algorithm)
        answer = self.call("POST", f"/v2/{repo or self.repo}/blobs/uploads/?digest={digest}", content)
        assert answer.status == 201, answer
        return digest

    def push_manifest(self, manifest: dict[str, Any], reference: str | None = None) -> Digest:
        content = json.dumps(manifest).encode()
        digest = Digest.of(content)
        answer = self.call(
            "PUT",
            f"/v2/{self.repo}/manifests/{reference or digest}",
            content,
            {"Content-Type": manifest["mediaType"]},
        )
        assert answer.status == 201, answer
        return digest

    def image(self, *layers: bytes, push: bool = True, **fields: Any) -> dict[str, Any]:
        """A manifest whose blobs are pushed."""
        for blob in (CONFIG_BLOB, *layers) if push else ():
            self.push_blob(blob)
        return {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": Descriptor.of(CONFIG, CONFIG_BLOB).to_dict(),
            "layers": [Descriptor.of("application/octet-stream", layer).to_dict() for layer in layers],
            **fields,
        }

    def index(self, *manifests: Digest, **fields: Any) -> dict[str, Any]:
        entries = [{"mediaType": MANIFEST, "digest": str(digest), "size": 1} for digest in manifests]
        return {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, **fields}


def _answer(response: Response) -> Answer:
    body = response.body
    if isinstance(body, Content):
        with body.map.open(body.offset, body.size) as reader:
            return Answer(response.status, dict(response.headers), reader.read())
    assert isinstance(body, bytes)
    return Answer(response.status, dict(response.headers), body)
