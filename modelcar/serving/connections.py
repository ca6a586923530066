"""The connections of a listener: how many there are, of whom, and which is closed for a newcomer.

Whoever is being answered keeps the connection. One that is idle, or still sends its headers, gives way when a limit is
reached: the one that has done so longest, of the same client first.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Final

from modelcar.serving.settings import Limits

__all__ = ["Connections", "HeadReader", "Slot", "client_of"]

_END: Final = b"\r\n\r\n"


class Slot:
    """One connection's place among the others. `drop` closes it, whatever it is doing."""

    __slots__ = ("_connections", "client", "drop")

    def __init__(self, connections: Connections, client: str) -> None:
        self.client = client
        self.drop: Callable[[], object] = _nothing
        self._connections = connections

    def busy(self) -> None:
        """A request of it is being answered."""
        self._connections.busy(self)

    def idle(self) -> None:
        """It is waited for, from now on."""
        self._connections.idle(self)

    def release(self) -> None:
        """It is gone; doing this twice changes nothing."""
        self._connections.release(self)


class Connections:
    """All connections of one listener; `limits` may be replaced at any time. For one event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._of: dict[str, dict[Slot, None]] = {}
        self._waiting: dict[Slot, None] = {}  # in the order in which they began to wait
        self._open = 0

    def __len__(self) -> int:
        return self._open

    @property
    def waiting(self) -> tuple[Slot, ...]:
        """Those on which no request is being answered, longest first."""
        return tuple(self._waiting)

    def admit(self, client: str) -> Slot | None:
        """A place for a new connection, at the cost of one that waits if it must be; `None` if there is none."""
        own = self._of.get(client, {})
        if len(own) >= self.limits.connections_per_client and not self._make_room(own):
            return None
        if self._open >= self.limits.connections and not self._make_room(self._waiting):
            return None
        slot = Slot(self, client)
        self._of.setdefault(client, {})[slot] = None
        self._waiting[slot] = None
        self._open += 1
        return slot

    def make_room(self) -> bool:
        """Close the connection that has waited longest; whether there was one."""
        return self._make_room(self._waiting)

    def _make_room(self, among: dict[Slot, None]) -> bool:
        oldest = next(iter(self._waiting), None) if among is self._waiting else self._oldest(among)
        if oldest is None:
            return False
        self.release(oldest)  # now, not when the loop gets to closing it: its place is taken at once
        oldest.drop()
        return True

    def _oldest(self, among: dict[Slot, None]) -> Slot | None:
        return next((slot for slot in self._waiting if slot in among), None)

    def busy(self, slot: Slot) -> None:
        """See `Slot`, as for the two below."""
        self._waiting.pop(slot, None)

    def idle(self, slot: Slot) -> None:
        if slot in self._of.get(slot.client, {}):
            self._waiting[slot] = None

    def release(self, slot: Slot) -> None:
        own = self._of.get(slot.client, {})
        if slot not in own:
            return
        del own[slot]
        if not own:
            del self._of[slot.client]
        self._waiting.pop(slot, None)
        self._open -= 1


class HeadReader:
    """Where a request's headers end, found without understanding them, and how long they are until then."""

    __slots__ = ("_tail", "size")

    def __init__(self) -> None:
        self.size = 0
        self._tail = b""

    def feed(self, data: bytes) -> bool:
        """Whether the headers end within `data`."""
        if not self.size:
            data = data.lstrip(b"\r\n")  # allowed before a request
        if not data:
            return False
        at = (self._tail + data[:3]).find(_END) if self._tail else -1
        if at < 0:
            at = data.find(_END)
            self.size += len(data) if at < 0 else at
        self._tail = (self._tail + data)[-3:] if len(data) < 3 else data[-3:]
        return at >= 0

    def reset(self) -> None:
        self.size = 0
        self._tail = b""


def client_of(address: object) -> str:
    """Whom a connection is counted under: an IPv4 address, an IPv6 network of 64 bits, or nothing (Unix sockets)."""
    if not isinstance(address, tuple) or not address:
        return ""
    ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def _nothing() -> None:
    pass
