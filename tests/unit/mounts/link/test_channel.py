"""Packets and files over a socket, whatever the other side does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from modelcar.errors import InvalidDocument, StorageError, UsageError
from modelcar.mounts.link.channel import MOST_FILES, Channel, Closed, connect, listen
from modelcar.mounts.link.packets import Attach, Failed, Files, Leave
from tests.support.leaks import no_file_left_open


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    one, other = (Channel(s) for s in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    yield one, other
    one.close()
    other.close()


def file_with(content: bytes) -> int:
    fd = os.memfd_create("test")
    os.write(fd, content)
    return fd


def test_packets_and_files_arrive_in_order(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    one.post(Attach("m"))
    one.post(Files(0, 2), [file_with(b"first"), file_with(b"second")])
    assert other.wait(60)
    assert other.receive() == (Attach("m"), [])
    got = other.receive()
    assert got is not None
    packet, files = got
    assert packet == Files(0, 2)
    assert [os.pread(fd, 10, 0) for fd in files] == [b"first", b"second"]
    assert not any(os.get_inheritable(fd) for fd in files), "a child would inherit them"
    for fd in files:
        os.close(fd)
    assert other.receive() is None


def test_as_many_files_as_linux_takes(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    with no_file_left_open():
        one.post(Files(0, MOST_FILES), [file_with(b"%d" % n) for n in range(MOST_FILES)])
        assert other.wait(60)
        got = other.receive()
        assert got is not None
        assert [os.pread(fd, 10, 0) for fd in got[1]] == [b"%d" % n for n in range(MOST_FILES)]
        for fd in got[1]:
            os.close(fd)


def test_posting_never_waits_and_all_arrives(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    for number in range(5000):  # far more than a socket's buffer holds
        one.post(Failed(number, 5, "x" * 200))
    received: list[int] = []

    def drain() -> None:
        while len(received) < 5000 and other.wait(60):
            while (got := other.receive()) is not None:
                assert isinstance(got[0], Failed)
                received.append(got[0].number)

    thread = threading.Thread(target=drain)
    thread.start()
    while thread.is_alive():
        one.wait(0.05)
    thread.join()
    assert received == list(range(5000))


def test_files_that_cannot_be_sent_are_closed(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    other.close()
    with no_file_left_open():
        one.post(Files(0, 1), [file_with(b"")])
    one.wait(1)
    with pytest.raises(Closed):
        one.receive()


def test_files_that_were_not_sent_are_closed_at_the_end(pair: tuple[Channel, Channel]) -> None:
    one, _ = pair
    for _ in range(3000):
        one.post(Leave(1))
    one.post(Files(0, 1), [file := file_with(b"")])
    os.fstat(file)
    one.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)


def test_who_waits_is_woken_by_a_close(pair: tuple[Channel, Channel]) -> None:
    one, _ = pair
    closing = threading.Timer(0.1, one.close)
    closing.start()
    assert one.wait(30)
    with pytest.raises(Closed):
        one.receive()
    closing.join()


@pytest.mark.parametrize("raw", [b"{", b"[]", b'["need"]', b"x" * 65536, b"x" * 100_000])
def test_what_is_no_packet_is_an_error_and_leaves_no_files(pair: tuple[Channel, Channel], raw: bytes) -> None:
    one, other = pair
    with no_file_left_open():
        fd = file_with(b"")
        one._sock.setblocking(True)
        socket.send_fds(one._sock, [raw], [fd])
        os.close(fd)
        assert other.wait(60)
        with pytest.raises(InvalidDocument):
            other.receive()


@pytest.mark.slow
def test_a_socket_is_its_owners_and_may_have_a_long_name(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 30) / "host.sock"
    path.parent.mkdir()
    with listen(path) as server:
        assert path.stat().st_mode & 0o777 == 0o600
        client = connect(path)
        accepted, _ = server.accept()
        there = Channel(accepted)
        assert (client.peer, there.peer) == (os.getpid(), os.getpid())
        client.close()
        there.close()
    with pytest.raises(StorageError, match="nobody answers"):
        connect(path)
    with listen(path) as server:  # in the place of the dead one's
        connect(path).close()
    with suppress(FileNotFoundError):
        path.unlink()
    with pytest.raises(StorageError, match="nobody answers"):
        connect(path)


_LISTENS = """
import os, socket, sys
with socket.socket(fileno=int(sys.argv[1])) as listener:
    os.setuid(65534)
    listener.listen()
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.parametrize("owner", [65534, 1])
def test_root_connects_to_a_user_if_the_socket_is_that_users(tmp_path: Path, owner: int) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        os.chown(path, owner, -1)
        command = [sys.executable, "-c", _LISTENS, str(listener.fileno())]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, pass_fds=[listener.fileno()], stdin=pipe, stdout=pipe) as host:
            assert host.stdout is not None
            assert host.stdout.readline() == b"ready\n"
            if owner == 65534:
                connect(path).close()
            else:
                with pytest.raises(UsageError, match="another user"):
                    connect(path)
