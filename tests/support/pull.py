"""pull.py HOST:PORT REPOSITORY verify|count: take an image's blobs, four at a time as engines do, and throw them away.

The repository's tag is v1. Prints how many seconds it took, from the first request on. Standard library only.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

_ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
_BUFFER = 1 << 20
_AT_ONCE = 4


def main(address: str, repository: str, mode: str) -> None:
    began = time.monotonic()
    document = json.loads(_get(address, f"{repository}/manifests/v1"))
    if "manifests" in document:
        first = document["manifests"][0]["digest"]
        document = json.loads(_get(address, f"{repository}/manifests/{first}"))
    blobs = {b["digest"]: b["size"] for b in (document["config"], *document["layers"])}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda blob: _take(address, repository, *blob, verify=mode == "verify"), blobs.items()))
    print(time.monotonic() - began)


def _get(address: str, path: str) -> bytes:
    connection = http.client.HTTPConnection(address, timeout=120)
    connection.request("GET", f"/v2/{path}", headers={"Accept": _ACCEPT})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != http.client.OK:
        raise SystemExit(f"{path}: {answer.status} {body[:300]!r}")
    return body


def _take(address: str, repository: str, digest: str, size: int, *, verify: bool) -> None:
    connection = http.client.HTTPConnection(address, timeout=120)
    connection.request("GET", f"/v2/{repository}/blobs/{digest}")
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        raise SystemExit(f"{digest}: {answer.status} {answer.read(300)!r}")
    buffer, left, found = memoryview(bytearray(_BUFFER)), size, hashlib.sha256()
    while n := answer.readinto(buffer):
        left -= n
        if verify:
            found.update(buffer[:n])
    if left or (verify and f"sha256:{found.hexdigest()}" != digest):
        raise SystemExit(f"{digest}: {left} bytes are missing, or it is not what it should be")


if __name__ == "__main__":
    main(*sys.argv[1:])
