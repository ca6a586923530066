"""Content digests, as in the OCI image specification (descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from modelcar.errors import DigestMismatch, InvalidDigest, SizeMismatch

__all__ = ["Digest", "VerifyingReader"]

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")
_READ_SIZE = 1 << 20


class Hash(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """`sha256:<64 hex>` or `sha512:<128 hex>`, lower case; the only two algorithms that registries must know.

    >>> Digest.of(b"{}").short
    '44136fa355b3'
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        length = _HEX_LENGTH.get(self.algorithm)
        if length is None:
            raise InvalidDigest(f"unknown digest algorithm {self.algorithm!r}; sha256 and sha512 are supported")
        if len(self.hex) != length or not _HEX.fullmatch(self.hex):
            raise InvalidDigest(f"a {self.algorithm} digest has {length} lower-case hexadecimal digits")

    @classmethod
    def parse(cls, text: str) -> Digest:
        algorithm, colon, hexadecimal = text.partition(":")
        if not colon:
            raise InvalidDigest(f"{text!r} is not a digest; it looks like sha256:<64 hex digits>")
        return cls(algorithm, hexadecimal)

    @classmethod
    def of(cls, data: bytes | memoryview, algorithm: str = "sha256") -> Digest:
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    @classmethod
    def of_stream(cls, stream: BinaryIO, algorithm: str = "sha256") -> Digest:
        """Digest of everything that `stream` still yields; memory stays at one buffer."""
        state = hashlib.new(algorithm)
        while data := stream.read(_READ_SIZE):
            state.update(data)
        return cls(algorithm, state.hexdigest())

    def hasher(self) -> Hash:
        """A fresh hash of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def check(self, data: bytes, what: str) -> None:
        """Raise `DigestMismatch` unless `data` hashes to this digest; `what` names it in the message."""
        actual = Digest.of(data, self.algorithm)
        if actual != self:
            raise DigestMismatch(f"{what} hashes to {actual}, not to {self}")

    def verifying(self, stream: BinaryIO, size: int) -> VerifyingReader:
        """`stream` wrapped so that its end is reached only if it had `size` bytes of this digest."""
        return VerifyingReader(stream, self, size)

    @property
    def short(self) -> str:
        """The first 12 hex digits, for people."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


class VerifyingReader:
    """A reader that raises at the end of its stream unless size and digest are as expected.

    Whatever was read before the end is unverified: publish it only after `read` has returned `b""`, or after `read()`
    of all that remains.

    Raises:
        SizeMismatch: the stream ends early, or has more than `size` bytes (no byte beyond them is returned).
        DigestMismatch: it has the size and another digest.
    """

    def __init__(self, stream: BinaryIO, digest: Digest, size: int) -> None:
        self._stream = stream
        self._digest = digest
        self._size = size
        self._seen = 0
        self._hash = digest.hasher()

    def read(self, n: int = -1) -> bytes:
        if n < 0:
            return self._read_all()
        data = self._stream.read(min(n, self._size - self._seen + 1))
        if not data:
            if n != 0:
                self._finish()
            return b""
        self._seen += len(data)
        if self._seen > self._size:
            raise SizeMismatch(f"{self._digest} has more than its {self._size} bytes")
        self._hash.update(data)
        return data

    def _read_all(self) -> bytes:
        pieces = []
        while piece := self.read(_READ_SIZE):
            pieces.append(piece)
        return b"".join(pieces)

    def _finish(self) -> None:
        if self._seen != self._size:
            raise SizeMismatch(f"{self._digest} ends after {self._seen} of {self._size} bytes")
        if self._hash.hexdigest() != self._digest.hex:
            raise DigestMismatch(
                f"content promised as {self._digest} hashes to {self._digest.algorithm}:{self._hash.hexdigest()}"
            )
