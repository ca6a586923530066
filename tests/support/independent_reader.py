"""One tensor out of a model image in a registry, read from `docs/formats/model-index.md` alone.

Only the standard library, nothing of modelcar: that others can do it, too, is what the format is for.

    python -m tests.support.independent_reader http://127.0.0.1:5000 org/model v1 model.embed_tokens.weight
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import urllib.request
from typing import Any

__all__ = ["Liar", "Repository"]

ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
Json = dict[str, Any]


class Liar(Exception):
    """The registry, or the index, does not say the truth."""


class Repository:
    """A repository of a registry over plain HTTP."""

    def __init__(self, url: str, name: str) -> None:
        self._base = f"{url}/v2/{name}"

    def tensor(self, tag: str, name: str) -> tuple[str, list[int], bytes]:
        """Dtype, shape and bytes. Raises `KeyError` if there is none of that name, `Liar` for wrong bytes."""
        manifest = self._manifest(tag)
        listed = {layer["digest"] for layer in manifest["layers"]}
        for layer in self._index(manifest)["layers"]:
            for file in layer["files"] if layer["digest"] in listed else ():
                for tensor in file.get("tensors", ()):
                    if tensor["name"] == name:
                        start = file["offset"] + tensor["offset"]
                        data = self._verified(layer, start, start + tensor["size"])
                        return tensor["dtype"], tensor["shape"], data
        raise KeyError(name)

    def _manifest(self, reference: str) -> Json:
        """That of the first platform."""
        document = self._document(reference)
        while "manifests" in document:
            document = self._document(document["manifests"][0]["digest"])
        return document

    def _document(self, reference: str) -> Json:
        content = self._get(f"manifests/{reference}", {"Accept": ACCEPT})
        if reference.startswith("sha256:"):
            _check(content, reference)
        document: Json = json.loads(content)
        return document

    def _index(self, manifest: Json) -> Json:
        for layer in manifest["layers"]:
            if layer.get("annotations", {}).get("dev.modelcar.layer") == "index":
                blob = self._get(f"blobs/{layer['digest']}")
                _check(blob, layer["digest"])
                with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
                    member = tar.extractfile(".modelcar/index.json")
                    document: Json = json.loads(member.read() if member else b"")
                if document["schemaVersion"] != 1:
                    raise Liar("the index is of another version")
                return document
        raise KeyError("the image has no model index")

    def _verified(self, layer: Json, start: int, stop: int) -> bytes:
        """`[start, stop)` of a layer: the chunks around it in one request, each checked alone."""
        chunks = [c for c in layer["chunks"] if c["offset"] < stop and start < c["offset"] + c["size"]]
        if not chunks:
            return b""
        first, last = chunks[0]["offset"], chunks[-1]["offset"] + chunks[-1]["size"]
        data = self._get(f"blobs/{layer['digest']}", {"Range": f"bytes={first}-{last - 1}"})
        if len(data) != last - first:
            raise Liar(f"{len(data)} bytes where {last - first} were asked for")
        for chunk in chunks:
            _check(data[chunk["offset"] - first :][: chunk["size"]], chunk["digest"])
        return data[start - first : stop - first]

    def _get(self, path: str, headers: dict[str, str] | None = None) -> bytes:
        request = urllib.request.Request(f"{self._base}/{path}", headers=headers or {})  # noqa: S310  # plain on purpose
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # of a registry of ours
            content: bytes = answer.read()
        return content


def _check(content: bytes, digest: str) -> None:
    algorithm, _, expected = digest.partition(":")
    if algorithm not in ("sha256", "sha512") or hashlib.new(algorithm, content).hexdigest() != expected:
        raise Liar(f"{len(content)} bytes are not {digest}")


if __name__ == "__main__":
    url, repository, tag, name = sys.argv[1:]
    dtype, shape, content = Repository(url, repository).tensor(tag, name)
    print(dtype, shape, len(content), hashlib.sha256(content).hexdigest())
