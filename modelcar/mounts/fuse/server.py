"""The loop between kernel and door: several threads read requests, and a read that must wait keeps none of them."""

from __future__ import annotations

import errno
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Final

from modelcar.errors import InvalidDocument
from modelcar.mounts.door import Door
from modelcar.mounts.fuse import names, wire
from modelcar.mounts.fuse.revoking import Revoking, Turns
from modelcar.mounts.fuse.sending import Sender
from modelcar.mounts.fuse.tree import Tree
from modelcar.mounts.fuse.waits import Wait, Waits
from modelcar.mounts.fuse.wire import Opcode, Request
from modelcar.mounts.plan import MountedFile
from modelcar.mounts.process.journal import Journal

__all__ = ["Server"]

_log = logging.getLogger(__name__)

_ANSWERERS: Final = 2
_SILENT: Final = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.DESTROY})
# After these a reading thread asks again: a signal, nothing there, a request that was withdrawn while it was fetched.
_AGAIN: Final = frozenset({errno.EINTR, errno.EAGAIN, errno.ENOENT})


class Server:
    """One connection, served until it ends.

    Args:
        devices: descriptors of the connection; each has a thread that reads from it.
        patience: seconds that a reader waits for bytes before it gets `EIO`.
    """

    def __init__(
        self, devices: Sequence[int], tree: Tree, door: Door, journal: Journal, *, patience: float = 120.0
    ) -> None:
        self._devices = devices
        self._tree = tree
        self._door = door
        self._journal = journal
        self._turns = Turns(len(devices) + _ANSWERERS + 1)
        self._waits = Waits(self._enqueue, patience=patience)
        self._slots: dict[int, int] = {}
        self._settled: queue.SimpleQueue[tuple[Wait, int] | None] = queue.SimpleQueue()
        self._revoking = Revoking(devices[0], tree, self._turns)

    def run(self) -> None:
        """Returns when nothing is mounted any more, anywhere. Raises `OSError` if the connection fails otherwise."""
        failures: list[OSError] = []
        self._door.on_lost(self._revoking.lost)
        others: list[Callable[[], None]] = [
            *(partial(self._answer_settled, len(self._devices) + n) for n in range(_ANSWERERS)),
            self._waits.watch,
            self._revoking.run,
        ]
        helpers = _started(others)
        self._take_over()
        lanes = _started([partial(self._read_requests, lane, failures) for lane in range(len(self._devices))])
        for thread in lanes:
            thread.join()
        self._waits.close()
        self._revoking.close()
        for _ in range(_ANSWERERS):
            self._settled.put(None)
        for thread in helpers:
            thread.join()
        if failures:
            raise failures[0]

    def busy(self) -> list[Hashable]:
        """For `Pulse`: who sends right now, and whose time is up without an answer."""
        return [*self._turns.now(), *self._waits.overdue()]

    def _take_over(self) -> None:
        """Answer what a worker before this one was asked and did not answer."""
        left = self._journal.left()
        sender, thread = Sender(), len(self._devices) + _ANSWERERS
        self._turns.step(thread)
        for slot, record in left.kept.items():
            wait = Wait.parse(record)
            self._slots[wait.unique] = slot
            self._read(wait, sender)
        for lane, raw in left.landings.items():
            self._handle(lane, raw, sender)
            self._journal.landed(lane)
        self._turns.step(thread)
        sender.close()

    def _read_requests(self, lane: int, failures: list[OSError]) -> None:
        device, landing, sender = self._devices[lane], self._journal.landing(lane), Sender()
        while True:
            try:
                length = os.readv(device, [landing])
            except OSError as e:
                if e.errno in _AGAIN:
                    continue
                if e.errno != errno.ENODEV:
                    failures.append(e)
                break
            if length == 0:
                break
            self._turns.step(lane)
            self._handle(lane, landing[:length], sender)
            self._turns.step(lane)
            self._journal.landed(lane)
        sender.close()

    def _handle(self, lane: int, raw: bytes | memoryview, sender: Sender) -> None:
        """Nothing that a request does ends its thread."""
        try:
            request = Request.parse(raw)
        except InvalidDocument as e:
            _log.error("%s", e)
            return
        try:
            self._dispatch(lane, request, sender)
        except Exception:
            _log.exception("FUSE request %d on node %d", request.opcode, request.node)
            self._reply(lane, wire.reply(request.unique, error=errno.EIO))

    def _dispatch(self, lane: int, request: Request, sender: Sender) -> None:
        if request.opcode == Opcode.READ:
            try:
                read = wire.Read.parse(request.body)
            except InvalidDocument:
                self._reply(lane, wire.reply(request.unique, error=errno.EINVAL))
                return
            wait = Wait(
                unique=request.unique,
                node=request.node,
                offset=read.offset,
                size=read.size,
                lane=lane,
                pid=request.pid,
                began=time.monotonic(),
            )
            self._read(wait, sender)
        elif request.opcode == Opcode.INTERRUPT:
            self._waits.interrupt(wire.interrupted(request.body))
        elif request.opcode not in _SILENT:
            self._reply(lane, names.answer(self._tree, request))

    def _read(self, wait: Wait, sender: Sender) -> None:
        """Answer at once what is here; ask for the rest, and let the thread go on."""
        node = self._tree.get(wait.node)
        if node is None or node.file is None:
            self._finish(wait, error=errno.EISDIR if node else errno.ESTALE)
            return
        start, length = _range(node.file, wait)
        if length == 0 or self._door.readable(node.file.blob, start, length):
            self._send(wait, node.file, sender)
        elif self._waits.was_late(wait.node, wait.offset):
            self._finish(wait, error=errno.EIO)
        else:
            if wait.unique not in self._slots:
                self._slots[wait.unique] = self._journal.keep(wait.to_bytes())
            self._waits.add(wait)
            self._door.ask(node.file.blob, start, length, partial(self._waits.settled, wait.unique))

    def _enqueue(self, wait: Wait, error: int) -> None:
        """Whoever settled a read has other things to do than to copy its bytes."""
        self._settled.put((wait, error))

    def _answer_settled(self, thread: int) -> None:
        sender = Sender()
        while (settled := self._settled.get()) is not None:
            wait, error = settled
            self._turns.step(thread)
            try:
                self._answer(wait, error, sender)
            except Exception:
                _log.exception("a read of node %d that waited", wait.node)
                self._finish(wait, error=errno.EIO)
            self._turns.step(thread)
        sender.close()

    def _answer(self, wait: Wait, error: int, sender: Sender) -> None:
        node = self._tree.get(wait.node)
        if error or node is None or node.file is None:
            self._finish(wait, error=error or errno.ESTALE)
            return
        start, length = _range(node.file, wait)
        if self._door.readable(node.file.blob, start, length):
            self._send(wait, node.file, sender)
        else:
            self._finish(wait, error=self._door.lost(node.file.blob) or errno.EIO)

    def _send(self, wait: Wait, file: MountedFile, sender: Sender) -> None:
        """All of a range that is readable."""
        start, length = _range(file, wait)
        try:
            if length == 0:
                os.write(self._devices[wait.lane], wire.reply(wait.unique))
            else:
                sender.send(self._devices[wait.lane], wait.unique, self._door.fileno(file.blob), start, length)
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ENODEV):
                _log.error("%s: bytes %d to %d: %s", file.path, wait.offset, wait.offset + length, e.strerror)
                self._reply(wait.lane, wire.reply(wait.unique, error=errno.EIO))
        self._forget(wait)

    def _finish(self, wait: Wait, *, error: int) -> None:
        self._reply(wait.lane, wire.reply(wait.unique, error=error))
        self._forget(wait)

    def _forget(self, wait: Wait) -> None:
        if (slot := self._slots.pop(wait.unique, None)) is not None:
            self._journal.release(slot)

    def _reply(self, lane: int, reply: bytes) -> None:
        try:
            os.write(self._devices[lane], reply)
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ENODEV):  # nobody waits for it any more
                _log.error("the kernel does not take an answer: %s", e.strerror)


def _range(file: MountedFile, wait: Wait) -> tuple[int, int]:
    """Where in the blob a read begins, and how many bytes it gets: fewer than asked for only at the file's end."""
    return file.offset + wait.offset, max(0, min(wait.size, file.size - wait.offset))


def _started(runs: Sequence[Callable[[], None]]) -> list[threading.Thread]:
    threads = [threading.Thread(target=run, daemon=True) for run in runs]
    for thread in threads:
        thread.start()
    return threads
