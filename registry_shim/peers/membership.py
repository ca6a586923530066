"""Who the members are, and how they do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import Final

from registry_shim.peers.health import Health, State
from registry_shim.peers.members import Member
from registry_shim.peers.settings import PeerSettings

__all__ = ["Membership"]

_FRESH: Final = 1.0  # seconds
_BRIEFLY: Final = 0.1  # seconds
_SLOW: Final = 4  # times slower than half of the members are
_HOPELESS: Final = 16  # times, for one answer: those that share a link share it badly
_ENOUGH: Final = 3.0  # seconds that tell how fast a member sends
_log = logging.getLogger("registry_shim.peers")


class Membership:
    """The members that are known, this node among them. Safe to use from several threads."""

    def __init__(self, settings: PeerSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        here = Member.parse(settings.name)
        self.me = Member(here.host, here.port, settings.zone)
        self._members: dict[str, Member] = {self.me.name: self.me}
        self._health: dict[str, Health] = {}
        self._ring: tuple[Member, ...] = (self.me,)
        self._fresh_until = 0.0
        self._reliable: frozenset[Member] = frozenset()
        self._reliable_until = 0.0

    def replace(self, members: Iterable[Member]) -> None:
        """What discovery found. This node stays a member even if it is not (yet) listed; who left is forgotten."""
        found = {member.name: member for member in members}
        with self._lock:
            listed = found.get(self.me.name)
            if listed is not None and listed.zone:
                self.me = listed
            found[self.me.name] = self.me
            joined, left = found.keys() - self._members.keys(), self._members.keys() - found.keys()
            self._members = found
            self._health = {name: health for name, health in self._health.items() if name in found}
            self._refresh()
        for name in sorted(joined):
            _log.info("peer %s joined", name)
        for name in sorted(left):
            _log.info("peer %s left", name)

    def ring(self) -> tuple[Member, ...]:
        """Those that are homes of chunks, sorted: all but the dead and the banned, this node included. The very same
        tuple for as long as they are the same."""
        with self._lock:
            if self._clock() >= self._fresh_until:  # nobody tells when a ban is over
                self._refresh()
            return self._ring

    def all(self) -> dict[Member, State]:
        """Every other member, with its state."""
        with self._lock:
            return {m: self._of(name).state() for name, m in self._members.items() if name != self.me.name}

    def get(self, name: str) -> Member | None:
        return self._members.get(name)

    def state(self, member: Member) -> State:
        with self._lock:
            return self._of(member.name).state()

    def reliable(self) -> frozenset[Member]:
        """The other members that are live and not slow, as of a moment ago at most. Quick."""
        if self._clock() >= self._reliable_until:
            with self._lock:
                self._weigh()
        return self._reliable

    def is_slow(self, member: Member) -> bool:
        """Whether it sends much slower than half of the members do."""
        with self._lock:
            return self._of(member.name).is_below(self._least_rate())

    def lags(self, member: Member, size: int, seconds: float) -> bool:
        """Whether an answer of which `size` bytes have come in `seconds` is to be given up: others send far faster."""
        if seconds < _ENOUGH:
            return False
        with self._lock:
            others = [h.rate for name, h in self._health.items() if h.rate is not None and name != member.name]
            rate = size / seconds
            lags = bool(others) and rate * _HOPELESS < median(others)
            if lags:
                self._of(member.name).rate = rate
            return lags

    def succeeded(self, member: Member, size: int = 0, seconds: float = 0.0) -> None:
        """It answered; `size` bytes came within `seconds` of the first."""
        with self._lock:
            self._of(member.name).succeeded(size, seconds)
            self._refresh()

    def failed(self, member: Member) -> None:
        """It refused, or did not answer."""
        self._note(member, Health.failed)

    def dawdled(self, member: Member) -> None:
        self._note(member, Health.dawdled)

    def lied(self, member: Member) -> None:
        """It sent bytes that are not what it was asked for."""
        _log.warning("peer %s sent wrong bytes: not asked for %.0f s", member.name, self._settings.banned_seconds)
        self._note(member, Health.lied)

    def trials(self) -> list[Member]:
        """The dead that have rested: ask them how they do."""
        with self._lock:
            return [self._members[name] for name, health in self._health.items() if health.needs_trial()]

    def _note(self, member: Member, change: Callable[[Health], None]) -> None:
        with self._lock:
            health = self._of(member.name)
            before = health.state()
            change(health)
            after = health.state()
            self._refresh()
        if after is State.DEAD and before is not State.DEAD:
            _log.warning("peer %s does not answer: its chunks have other homes until it does", member.name)

    def _of(self, name: str) -> Health:
        health = self._health.get(name)
        if health is None:
            settings = self._settings
            health = Health(
                suspect_seconds=settings.suspect_seconds,
                dead_after=settings.dead_after,
                banned_seconds=settings.banned_seconds,
                clock=self._clock,
            )
            if name in self._members:
                self._health[name] = health
        return health

    def _weigh(self) -> None:
        least = self._least_rate()
        self._reliable = frozenset(
            m
            for name, m in self._members.items()
            if name != self.me.name and (h := self._of(name)).state() is State.LIVE and not h.is_below(least)
        )
        self._reliable_until = self._clock() + _BRIEFLY

    def _least_rate(self) -> float:
        """Who sends slower than this is slow."""
        rates = [h.rate for h in self._health.values() if h.rate is not None]
        return median(rates) / _SLOW if len(rates) > 1 else 0.0

    def _refresh(self) -> None:
        self._reliable_until = 0.0
        self._fresh_until = self._clock() + _FRESH
        out = (State.DEAD, State.BANNED)
        ring = tuple(sorted(m for n, m in self._members.items() if n == self.me.name or self._of(n).state() not in out))
        if ring != self._ring:
            self._ring = ring
