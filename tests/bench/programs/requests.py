"""Small requests over connections that are kept open, a thread each; every body has to be of the same length.

python -m tests.bench.programs.requests HOST:PORT PATH REQUESTS CONNECTIONS
"""

from __future__ import annotations

import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

_ENOUGH = 1 << 20


def ask(address: str, path: str, times: int) -> set[int]:
    """The lengths of the answers. A bare socket: `http.client` costs more than what is measured."""
    host, _, port = address.rpartition(":")
    request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n\r\n".encode()
    lengths = set()
    with socket.create_connection((host, int(port))) as sock:
        for _ in range(times):
            sock.sendall(request)
            lengths.add(_take(sock))
    return lengths


def _take(sock: socket.socket) -> int:
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(sock)
    head, _, body = received.partition(b"\r\n\r\n")
    if b" 200 " not in head[:20]:
        raise SystemExit(head.decode())
    lower = head.lower()
    length = int(lower[lower.index(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
    rest = length - len(body)
    while rest > 0:
        rest -= len(_more(sock))
    return length


def _more(sock: socket.socket) -> bytes:
    data = sock.recv(_ENOUGH)
    if not data:
        raise SystemExit("the server hung up")
    return data


def main(address: str, path: str, requests: str, connections: str) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the server has the first core for itself
    ask(address, path, 100)
    each = int(requests) // int(connections)
    began = time.perf_counter()
    with ThreadPoolExecutor(int(connections)) as pool:
        lengths = set().union(*pool.map(lambda _: ask(address, path, each), range(int(connections))))
    seconds = time.perf_counter() - began
    if len(lengths) != 1:
        raise SystemExit(f"answers of different lengths: {sorted(lengths)}")
    print(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
