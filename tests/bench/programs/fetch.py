"""Clients that each take one whole file at the same time, and throw it away.

python -m tests.bench.programs.fetch HOST:PORT PATH SIZE CLIENTS
"""

from __future__ import annotations

import http.client
import sys
import time
from concurrent.futures import ThreadPoolExecutor

_BUFFER = 1 << 20


def get(address: str, path: str) -> int:
    """How many bytes the body had."""
    connection = http.client.HTTPConnection(address)
    connection.request("GET", path)
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        raise SystemExit(f"{path}: {answer.status}")
    buffer, size = memoryview(bytearray(_BUFFER)), 0
    while n := answer.readinto(buffer):
        size += n
    connection.close()
    return size


def main(address: str, path: str, size: str, clients: str) -> None:
    began = time.perf_counter()
    with ThreadPoolExecutor(int(clients)) as pool:
        sizes = list(pool.map(lambda _: get(address, path), range(int(clients))))
    seconds = time.perf_counter() - began
    if set(sizes) != {int(size)}:
        raise SystemExit(f"expected {size} bytes, got {sizes}")
    print(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
