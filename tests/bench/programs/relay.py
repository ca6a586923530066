"""A line of a given rate in front of a server: what goes through in either direction is counted and paced.

python -m tests.bench.programs.relay PORT HOST:PORT BYTES_A_SECOND
"""

from __future__ import annotations

import socket
import sys
import threading
import time

from modelcar.throttle import Throttle

_BLOCK = 256 << 10


def pump(source: socket.socket, target: socket.socket, throttle: Throttle) -> None:
    buffer = memoryview(bytearray(_BLOCK))
    try:
        while n := source.recv_into(buffer):
            time.sleep(throttle.take(n))
            target.sendall(buffer[:n])
        target.shutdown(socket.SHUT_WR)
    except OSError:  # either end has gone
        for end in (source, target):
            end.close()


def main(port: str, server: str, rate: str) -> None:
    host, _, number = server.rpartition(":")
    there, back = Throttle(float(rate)), Throttle(float(rate))
    with socket.create_server(("127.0.0.1", int(port)), backlog=64) as listener:
        while True:
            client, _ = listener.accept()
            upstream = socket.create_connection((host, int(number)))
            for end in (client, upstream):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=pump, args=(client, upstream, there), daemon=True).start()
            threading.Thread(target=pump, args=(upstream, client, back), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
