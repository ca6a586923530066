"""The blobs of an image by plain ranged requests, several at once, into files; nothing is checked.

python -m tests.bench.programs.download HOST:PORT REPOSITORY FOLDER STREAMS DIGEST:SIZE…
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local

_RANGE = 16 << 20
_BUFFER = 1 << 20
_mine = local()


def fetch(address: str, repository: str, digest: str, file: int, start: int, stop: int) -> None:
    if not hasattr(_mine, "connection"):
        _mine.connection, _mine.buffer = http.client.HTTPConnection(address), memoryview(bytearray(_BUFFER))
    headers = {"Range": f"bytes={start}-{stop - 1}"}
    _mine.connection.request("GET", f"/v2/{repository}/blobs/{digest}", headers=headers)
    answer = _mine.connection.getresponse()
    if answer.status != http.client.PARTIAL_CONTENT:
        raise SystemExit(f"{digest}: {answer.status}")
    while n := answer.readinto(_mine.buffer):
        start += os.pwrite(file, _mine.buffer[:n], start)
    if start != stop:
        raise SystemExit(f"{digest} ends early")


def main(address: str, repository: str, folder: str, streams: str, *blobs: str) -> None:
    began = time.perf_counter()
    with ThreadPoolExecutor(int(streams)) as pool:
        waiting = []
        for blob in blobs:
            digest, _, size = blob.rpartition(":")
            file = os.open(Path(folder, digest.rpartition(":")[2]), os.O_WRONLY | os.O_CREAT, 0o600)
            os.ftruncate(file, int(size))
            for start in range(0, int(size), _RANGE):
                stop = min(start + _RANGE, int(size))
                waiting.append(pool.submit(fetch, address, repository, digest, file, start, stop))
        for each in waiting:
            each.result()
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
