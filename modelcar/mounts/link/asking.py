"""One question to a host, and its answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from modelcar import errors
from modelcar.errors import ModelcarError, StorageError
from modelcar.mounts.link.channel import Channel, Closed, connect
from modelcar.mounts.link.documents import read_document, write_document
from modelcar.mounts.link.packets import Answer, Ask

__all__ = ["ask"]

_STEP: Final = 0.5  # seconds between two calls of `meanwhile`


def ask(
    socket: Path,
    verb: str,
    document: dict[str, Any],
    *,
    within: float = 60.0,
    meanwhile: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """What the host at `socket` says. `meanwhile` is called twice a second until it does; what it raises ends that.

    Raises:
        StorageError: nobody answers, or not within so many seconds.
        ModelcarError: what went wrong there, of the class that it has there.
    """
    channel = connect(socket)
    try:
        channel.post(Ask(verb), [write_document(document)])
        failed, answer = _receive(channel, time.monotonic() + within, socket, meanwhile)
    finally:
        channel.close()
    if failed:
        raise _error(answer)
    return answer


def _receive(
    channel: Channel, deadline: float, socket: Path, meanwhile: Callable[[], None] | None
) -> tuple[bool, dict[str, Any]]:
    while (left := deadline - time.monotonic()) > 0:
        if not channel.wait(min(left, _STEP) if meanwhile is not None else left):
            if meanwhile is not None:
                meanwhile()
            continue
        try:
            got = channel.receive()
        except Closed:
            break
        if got is None:
            continue
        packet, files = got
        try:
            if isinstance(packet, Answer) and len(files) == 1:
                return bool(packet.failed), read_document(files[0])
        finally:
            for fd in files:
                os.close(fd)
        raise StorageError(f"the process at {socket} answers what makes no sense", hint=f"end process {channel.peer}")
    else:
        raise StorageError(
            f"the process at {socket} does not answer", hint=f"end process {channel.peer}, which hangs, and try again"
        )
    raise StorageError(f"the process at {socket} has ended", hint="try again; it is started anew where needed")


def _error(answer: dict[str, Any]) -> ModelcarError:
    kind = getattr(errors, str(answer.get("kind")), None)
    message, hint = str(answer.get("message")), answer.get("hint")
    if not isinstance(kind, type) or not issubclass(kind, ModelcarError):
        kind = StorageError
    return kind(message, hint=str(hint) if hint else None)
