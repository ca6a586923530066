"""A gzipped layer, unpacked within bounds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from modelcar.oci import Digest
from modelcar.scanning.content import Content
from modelcar.scanning.expansion import Expansion, Inflater
from modelcar.scanning.limits import Budget

__all__ = ["Unpacking"]

_WITH_HEADER: Final = 31  # zlib's way to say "as gzip has it"


class Unpacking:
    """What comes out of a gzipped layer, as far as it goes: `problem` says what is wrong with the rest."""

    def __init__(self, content: Content, budget: Budget) -> None:
        self._content = content
        self._budget = budget
        self._hash = hashlib.sha256()
        self.problem: str | None = None

    @property
    def diff_id(self) -> Digest | None:
        """The digest of all that came out; `None` if something is missing."""
        return None if self.problem else Digest("sha256", self._hash.hexdigest())

    def pieces(self) -> Iterator[bytes]:
        """What comes out of all streams, one behind the other. Once."""
        at = 0
        while at < self._content.size:
            expansion = Expansion(self._budget, Inflater(_WITH_HEADER), self._content, at, self._content.size)
            for piece in expansion.pieces():
                self._hash.update(piece)
                yield piece
            if expansion.end is None:
                self.problem = expansion.limit or expansion.problem or "its compressed data is damaged"
                return
            at = expansion.end
