"""The connections of a listener: how many there are, of whom, and which is closed for a newcomer.

When a limit is reached, one that is idle or still sends its headers gives way: the one that has done so longest, of the
same client first. If there is none, the slowest of those that take their answers slower than anybody needs them does.
Whoever keeps up, or waits for us, keeps the connection.
"""

from __future__ import annotations

import ipaddress
import itertools
import time
from collections.abc import Callable, Iterable
from typing import Final

from modelcar.serving.pace import Pace
from modelcar.serving.settings import Limits

__all__ = ["Connections", "HeadReader", "Slot", "client_of"]

_END: Final = b"\r\n\r\n"
_SEARCH_SECONDS: Final = 0.25  # between two searches among all connections that find nobody


class Slot:
    """One connection's place among the others. `drop` closes it, whatever it is doing."""

    __slots__ = ("_connections", "client", "drop", "pace")

    def __init__(self, connections: Connections, client: str) -> None:
        self.client = client
        self.pace = Pace()
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
        self._next_search = 0.0
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
        if client and len(own) >= self.limits.connections_per_client and not self._make_room(own):
            return None
        if self._open >= self.limits.connections and not self.make_room():
            return None
        slot = Slot(self, client)
        self._of.setdefault(client, {})[slot] = None
        self._waiting[slot] = None
        self._open += 1
        return slot

    def make_room(self) -> bool:
        """Close the connection that has waited longest, or else the slowest; whether there was one."""
        return self._close(next(iter(self._waiting), None)) or self.drop_slowest()

    def drop_slowest(self) -> bool:
        """Close the connection that is slower than any other, and too slow; whether there was one."""
        now = time.monotonic()
        if now < self._next_search:
            return False
        found = self._close(self._slowest(itertools.chain.from_iterable(self._of.values())))
        if not found:
            self._next_search = now + _SEARCH_SECONDS
        return found

    def _make_room(self, own: dict[Slot, None]) -> bool:
        oldest = next((slot for slot in self._waiting if slot in own), None)
        return self._close(oldest or self._slowest(own))

    def _slowest(self, among: Iterable[Slot]) -> Slot | None:
        paces = [(rate, slot) for slot in among if (rate := slot.pace.rate()) is not None]
        rate, slowest = min(paces, key=lambda pace: pace[0], default=(0.0, None))
        return slowest if rate < self.limits.slow_rate else None

    def _close(self, slot: Slot | None) -> bool:
        if slot is None:
            return False
        self.release(slot)  # now, not when the loop gets to closing it: its place is taken at once
        slot.drop()
        return True

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
    """Whom a connection is counted under: an IPv4 address, an IPv6 network of 64 bits; `""` on this machine, where one
    address is everybody."""
    if not isinstance(address, tuple) or not address:
        return ""
    ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    if ip.is_loopback:
        return ""
    return str(ip if ip.version == 4 else ipaddress.ip_network((ip, 64), strict=False))


def _nothing() -> None:
    pass
