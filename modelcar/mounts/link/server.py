"""The host's side of doors: whoever connects and is one of us gets files, and answers."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from modelcar.errors import InvalidDocument, ModelcarError
from modelcar.mounts.link.channel import MOST_FILES, Channel, Closed, listen
from modelcar.mounts.link.documents import read_document, write_document
from modelcar.mounts.link.packets import (
    Answer,
    Ask,
    Attach,
    Done,
    Failed,
    Files,
    Gone,
    Leave,
    Need,
    Packet,
    Ready,
    Refused,
    Whole,
)
from modelcar.mounts.served import ServedMount, Wanted

__all__ = ["Control", "LinkServer", "Mounts"]

_LOG = logging.getLogger(__name__)
_MOST_NEEDS: Final = 100_000  # of one client at a time
_FIRST: Final = 10.0  # seconds that a client has to say what it wants

Control = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Answers an `Ask`: its verb and document. Raises a `ModelcarError`."""


class Mounts(Protocol):
    def attach(self, mount: str, /) -> ServedMount:
        """Raises a `ModelcarError`."""


def _no_control(verb: str, document: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001  # a `Control`
    raise InvalidDocument(f"nobody here answers {verb!r}")


class LinkServer:
    """Listens at `path` from now on; a thread each for whoever is connected. Close it."""

    def __init__(self, path: Path, mounts: Mounts, control: Control = _no_control) -> None:
        """Raises `StorageError` if it cannot listen there."""
        self._mounts, self._control = mounts, control
        self._path = path
        self._socket = listen(path)
        self._lock = threading.Lock()
        self._channels: set[Channel] = set()
        self._threads: set[threading.Thread] = set()
        self._closing = False
        self._acceptor = threading.Thread(target=self._accept, name="link", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Hang up. What clients wait for they ask for again, of whoever listens here next."""
        self._closing = True
        with suppress(OSError):
            self._path.unlink()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._socket.close()
        with self._lock:
            channels, threads = list(self._channels), list(self._threads)
        for channel in channels:
            channel.close()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(5.0)

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            try:
                channel = Channel(connection)
            except ModelcarError as e:
                _LOG.warning("%s", e)
                continue
            thread = threading.Thread(target=self._talk, args=[channel], name="link", daemon=True)
            with self._lock:
                self._channels.add(channel)
                self._threads.add(thread)
            thread.start()

    def _talk(self, channel: Channel) -> None:
        try:
            channel.wait(_FIRST)
            match channel.receive():
                case (Attach(mount), []):
                    self._serve(channel, mount)
                case (Ask(verb), [document]):
                    self._answer(channel, verb, document)
                case _:
                    pass
        except (Closed, ModelcarError, ValueError) as e:
            if not isinstance(e, Closed):
                _LOG.warning("process %d said what makes no sense: %s", channel.peer, e)
        except OSError:
            _LOG.exception("serving process %d failed", channel.peer)
        finally:
            channel.close()
            with self._lock:
                self._channels.discard(channel)
                self._threads.discard(threading.current_thread())

    def _serve(self, channel: Channel, mount: str) -> None:
        try:
            served = self._mounts.attach(mount)
            session = _Session(channel, served)
            session.send_files()
        except ModelcarError as e:
            channel.post(Refused(str(e)))
            channel.wait(1.0)  # until it has hung up, so that it reads this first
            return
        served.listen(session)
        try:
            session.run()
        finally:
            served.leave(session)
            session.end()

    def _answer(self, channel: Channel, verb: str, document: int) -> None:
        try:
            answer, failed = self._control(verb, read_document(document)), 0
        except ModelcarError as e:
            answer, failed = {"kind": type(e).__name__, "message": str(e), "hint": e.hint}, 1
        finally:
            os.close(document)
        channel.post(Answer(failed), [write_document(answer)])
        channel.wait(5.0)


class _Session:
    """One door. A `Listener` of its mount."""

    def __init__(self, channel: Channel, mount: ServedMount) -> None:
        self._channel, self._mount = channel, mount
        self._lock = threading.Lock()
        self._wanted: dict[int, Wanted | None] = {}

    def send_files(self) -> None:
        blobs = len(self._mount.plan.blobs)
        for first in range(0, blobs, MOST_FILES):
            count = min(MOST_FILES, blobs - first)
            files: list[int] = []
            try:
                files.extend(map(self._mount.file, range(first, first + count)))
            except BaseException:
                for fd in files:
                    os.close(fd)
                raise
            self._channel.post(Files(first, count), files)
        self._channel.post(Ready(blobs))

    def run(self) -> None:
        """Until the client hangs up. Raises `Closed`, or a `ModelcarError` or `ValueError` for what makes no sense."""
        while True:
            self._channel.wait(None)
            while (got := self._channel.receive()) is not None:
                packet, files = got
                for fd in files:
                    os.close(fd)
                self._take(packet)

    def end(self) -> None:
        with self._lock:
            left = [wanted for wanted in self._wanted.values() if wanted is not None]
            self._wanted.clear()
        for wanted in left:
            wanted.leave()

    def whole(self, blob: int, size: int) -> None:
        self._channel.post(Whole(blob, size))

    def gone(self, blob: int, errno: int, text: str) -> None:
        self._channel.post(Gone(blob, errno, text))

    def _take(self, packet: Packet) -> None:
        match packet:
            case Need(number, blob, offset, length):
                self._need(number, blob, offset, length)
            case Leave(number):
                with self._lock:
                    wanted = self._wanted.pop(number, None)
                if wanted is not None:
                    wanted.leave()
            case _:
                raise InvalidDocument(f"{packet} is not for a host")

    def _need(self, number: int, blob: int, offset: int, length: int) -> None:
        def answered(stop: int, error: int, text: str) -> None:
            with self._lock:
                self._wanted.pop(number, None)
            self._channel.post(Failed(number, error or errno.EIO, text) if error else Done(number, blob, offset, stop))

        with self._lock:
            if number in self._wanted or len(self._wanted) >= _MOST_NEEDS:
                raise InvalidDocument(f"the need {number} is one too many")
            self._wanted[number] = None
        wanted = self._mount.want(blob, offset, length, answered)
        with self._lock:
            if number in self._wanted:
                self._wanted[number] = wanted
