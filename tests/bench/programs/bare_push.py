"""The least that a push can cost: one `sendfile` loop a connection, digests known beforehand, nothing else.

python -m tests.bench.programs.bare_push HOST:PORT REPOSITORY DIGEST=FILE...
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor


def put(address: str, repository: str, digest: str, path: str) -> None:
    """Upload one file as one blob over a connection of its own."""
    connection = http.client.HTTPConnection(address)
    connection.request("POST", f"/v2/{repository}/blobs/uploads/")
    answer = connection.getresponse()
    answer.read()
    location = answer.headers["Location"]
    path_and_query = "/" + location.split("://")[-1].split("/", 1)[1]
    separator = "&" if "?" in path_and_query else "?"
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        connection.putrequest("PUT", f"{path_and_query}{separator}digest={digest}")
        connection.putheader("Content-Length", str(size))
        connection.putheader("Content-Type", "application/octet-stream")
        connection.endheaders()
        target, offset = connection.sock.fileno(), 0
        while offset < size:
            offset += os.sendfile(target, file.fileno(), offset, size - offset)
    if connection.getresponse().status != http.client.CREATED:
        raise SystemExit(f"the registry did not take {path}")
    connection.close()


def main(address: str, repository: str, *blobs: str) -> None:
    pairs = [blob.split("=", 1) for blob in blobs]
    began = time.perf_counter()
    with ThreadPoolExecutor(len(pairs)) as pool:
        list(pool.map(lambda pair: put(address, repository, *pair), pairs))
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
