"""No mount is shown before each of its blobs was seen to ask; one that does not would show zeros for missing bytes."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from modelcar.errors import StorageError
from modelcar.mounts.erofs.fanotify import EVENT_SIZE, Group, events_in
from modelcar.mounts.plan import MountedFile, MountPlan

__all__ = ["answering", "prove"]


def prove(group: Group, mount: int, plan: MountPlan) -> None:
    """Read a byte of every blob through a mount that nobody else sees, and say no each time: each read must fail.

    Raises `StorageError` if one does not.
    """
    wrong: list[str] = []
    samples = {file.blob: file for file in plan.files if file.size}

    def read() -> None:
        wrong.extend(file.path for file in samples.values() if not _fails(mount, file))

    answering(group, read, errno.EIO)
    if wrong:
        raise StorageError(f"the kernel reads {wrong[0]!r} without asking whether it is here")


def answering(group: Group, read: Callable[[], None], error: int) -> None:
    """`read` in a thread, while every question is answered the same."""
    done = os.eventfd(0, os.EFD_CLOEXEC)
    with ThreadPoolExecutor(1, thread_name_prefix="canary") as pool:
        result = pool.submit(read)
        result.add_done_callback(lambda _: os.eventfd_write(done, 1))
        _answer_all(group, done, error)
    os.close(done)
    result.result()


def _answer_all(group: Group, done: int, error: int) -> None:
    waited = select.poll()
    waited.register(group.fd, select.POLLIN)
    waited.register(done, select.POLLIN)
    buffer = memoryview(bytearray(EVENT_SIZE))
    while True:
        ready = {descriptor for descriptor, _ in waited.poll()}
        if group.fd in ready:
            group.read(buffer)
            for event in events_in(buffer):
                group.answer(event.fd, error)
                os.close(event.fd)
        elif done in ready:
            return


def _fails(mount: int, file: MountedFile) -> bool:
    descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=mount)
    try:
        os.pread(descriptor, 1, file.size - 1)
    except OSError as e:
        return e.errno == errno.EIO
    finally:
        os.close(descriptor)
    return False
