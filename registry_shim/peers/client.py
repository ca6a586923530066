"""Requests to peers, over connections that are kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from modelcar.errors import UsageError
from modelcar.registry.mutual import MutualTls
from modelcar.registry.settings import ClientSettings
from modelcar.registry.transport import Answer, Broken, Transport
from registry_shim.peers.members import Member
from registry_shim.peers.protocol import PREFIX, SENDER
from registry_shim.peers.settings import PeerSettings

__all__ = ["PeerClient"]

_LOOK: Final = 10.0  # seconds between two looks at the files of certificates
_CONNECTIONS: Final = 64  # that are kept to one peer
_MARGIN: Final = 5.0  # seconds that an answer may take longer than a peer holds a request


class PeerClient:
    """Speaks to any peer; `broken` comes soon if one is gone. Safe to share between threads; close it."""

    def __init__(self, settings: PeerSettings) -> None:
        """Raises `UsageError` where the files of certificates cannot be used."""
        self._tls = settings.tls
        self._name = Member.parse(settings.name).name
        self._patience = settings.hold_seconds + _MARGIN
        self._settings = ClientSettings(
            timeout=settings.timeout, concurrency=_CONNECTIONS, mutual_tls=settings.tls, direct=True
        )
        self._lock = threading.Lock()
        self._transport = Transport(self._settings)
        self._stamp = self._tls.stamp() if self._tls else None
        self._looked = time.monotonic()

    def request(
        self, member: Member, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """One request, one answer, of any status. Raises `Broken` where there is none."""
        url = f"{'https' if self._tls else 'http'}://{member.name}{path}"
        return self._current().request(method, url, {SENDER: self._name, **headers}, body, self._patience)

    def is_well(self, member: Member) -> bool:
        """Whether it answers at all."""
        try:
            answer = self.request(member, "GET", PREFIX, {})
        except Broken:
            return False
        answer.discard()
        return answer.status == 200

    def close(self) -> None:
        self._transport.close()

    def _current(self) -> Transport:
        """The connections; new ones where the certificates' files have changed."""
        if self._tls is None:
            return self._transport
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= _LOOK:
                self._looked = now
                self._renew(self._tls)
            return self._transport

    def _renew(self, tls: MutualTls) -> None:
        stamp = tls.stamp()
        if stamp == self._stamp:
            return
        with suppress(UsageError):  # they are being written
            fresh = Transport(self._settings)
            self._transport.close()  # what is in use goes on
            self._transport, self._stamp = fresh, stamp
