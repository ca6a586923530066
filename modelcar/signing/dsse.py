"""DSSE envelopes (Dead Simple Signing Envelope 1.0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["IN_TOTO", "Envelope", "pre_authentication_encoding"]

IN_TOTO: Final = "application/vnd.in-toto+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A payload and the raw signatures over it (not base64)."""

    payload: bytes
    payload_type: str
    signatures: tuple[bytes, ...]

    @property
    def signed(self) -> bytes:
        """The bytes that every signature covers."""
        return pre_authentication_encoding(self.payload_type, self.payload)


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """`DSSEv1 <len(type)> <type> <len(payload)> <payload>`, lengths in bytes, as decimal ASCII."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
