"""Where the members are learnt from: a list, or DNS. `kubernetes` is the third."""

from __future__ import annotations

import logging
import random
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from modelcar.errors import WorldError
from registry_shim.peers.members import Member, parse_members
from registry_shim.peers.srv import resolve_srv

__all__ = ["Discovery", "DnsMembers", "StaticMembers", "Tell"]

_RETRY: Final = 2.0  # seconds after a failure
_log = logging.getLogger("registry_shim.peers")

Tell = Callable[[Iterable[Member]], None]


class Discovery(Protocol):
    """Finds out who the members are, in a thread of its own."""

    def run(self, tell: Tell) -> None:
        """`tell` of all members whenever they change, until `stop`."""

    def stop(self) -> None:
        """From any thread: `run` returns soon."""


class StaticMembers:
    """A list that does not change."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._members = parse_members(texts)

    def run(self, tell: Tell) -> None:
        tell(self._members)

    def stop(self) -> None:
        pass


class DnsMembers:
    """The addresses of a name, resolved again and again: `HOST:PORT`, or an SRV name (`_peers._tcp.shim.example`).

    While DNS does not answer, the members are those that it told last.
    """

    def __init__(self, name: str, seconds: float) -> None:
        """Raises `UsageError` if `name` is neither."""
        self._name = name
        self._seconds = seconds
        self._is_srv = name.startswith("_")
        self._target = None if self._is_srv else Member.parse(name)
        self._stopped = threading.Event()

    def run(self, tell: Tell) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            try:
                tell(self.resolve())
                pause = self._seconds * random.uniform(0.9, 1.1)  # noqa: S311  # not a secret
            except WorldError as e:
                _log.warning("%s", e)
                pause = min(_RETRY, self._seconds)

    def stop(self) -> None:
        self._stopped.set()

    def resolve(self) -> list[Member]:
        """Raises `WorldError` if there is no answer, or nobody in it."""
        if self._target is None:
            found = [m for target in resolve_srv(self._name) for m in _addresses(target)]
        else:
            found = _addresses(self._target)
        return sorted(set(found))


def _addresses(target: Member) -> list[Member]:
    try:
        entries = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "that is no host name"
        raise WorldError(f"peers: {target.host} cannot be resolved: {reason}") from None
    return [Member(str(entry[4][0]), target.port) for entry in entries]
