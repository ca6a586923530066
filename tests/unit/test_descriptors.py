"""Open files that other processes hand over go to nobody else."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.descriptors import receive

SOURCES = [path for name in ("modelcar", "registry_shim") for path in Path(__file__).parents[2].glob(f"{name}/**/*.py")]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        yield one, other


def hand_over(sock: socket.socket, name: bytes, files: int) -> None:
    sent = [os.memfd_create("file") for _ in range(files)]
    socket.send_fds(sock, [name], sent)
    for file in sent:
        os.close(file)


@pytest.mark.slow
def test_no_child_gets_what_was_received(pair: tuple[socket.socket, socket.socket]) -> None:
    hand_over(pair[0], b"two files", 2)
    data, files, cut = receive(pair[1], 100, 2)
    assert (data, len(files), cut) == (b"two files", 2, False)
    listing = "import os; print(*os.listdir('/proc/self/fd'))"
    found = subprocess.run([sys.executable, "-c", listing], close_fds=False, capture_output=True, text=True, check=True)
    for file in files:
        os.close(file)
    assert not set(map(str, files)) & set(found.stdout.split())


@pytest.mark.parametrize(("size", "most"), [(3, 4), (100, 1)])
def test_what_was_cut_off_is_told(pair: tuple[socket.socket, socket.socket], size: int, most: int) -> None:
    hand_over(pair[0], b"name", 4)
    _, files, cut = receive(pair[1], size, most)
    for file in files:
        os.close(file)
    assert cut


def test_nothing_else_receives_files() -> None:
    calls = re.compile(r"\.recv(_fds|msg|msg_into)\(")
    assert {path.name for path in SOURCES if calls.search(path.read_text())} == {"descriptors.py"}
