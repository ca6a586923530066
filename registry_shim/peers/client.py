"""Requests to peers, over connections that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelcar.registry.settings import ClientSettings
from modelcar.registry.transport import Answer, Broken, Transport
from registry_shim.peers.members import Member
from registry_shim.peers.protocol import PREFIX, SENDER
from registry_shim.peers.settings import PeerSettings

__all__ = ["PeerClient"]

_CONNECTIONS: Final = 64  # that are kept to one peer
_MARGIN: Final = 5.0  # seconds that an answer may take longer than a peer holds a request


class PeerClient:
    """Speaks to any peer; `broken` comes soon if one is gone. Safe to share between threads; close it."""

    def __init__(self, settings: PeerSettings) -> None:
        """Raises `StorageError` or `UsageError` where the files of certificates cannot be used."""
        self._scheme = "https" if settings.tls is not None else "http"
        self._name = Member.parse(settings.name).name
        self._patience = settings.hold_seconds + _MARGIN
        self._transport = Transport(
            ClientSettings(timeout=settings.timeout, concurrency=_CONNECTIONS, mutual_tls=settings.tls, direct=True)
        )

    def request(
        self, member: Member, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """One request, one answer, of any status. Raises `Broken` where there is none."""
        url = f"{self._scheme}://{member.name}{path}"
        return self._transport.request(method, url, {SENDER: self._name, **headers}, body, self._patience)

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
