"""What a peer may have: what this node would serve to the client that the peer asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from modelcar.cache.origin import Origin
from modelcar.errors import Denied
from modelcar.oci import Digest
from registry_shim.distribution.errors import DistributionError

__all__ = ["Access", "Admitted", "SameAsClients"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """`origin`: on whose behalf the blob may be read here; `size`: its bytes, as this node knows of them."""

    origin: Origin
    size: int


class Access(Protocol):
    """A blob must not leave under a repository that it is not in, nor to those who may not read that."""

    async def admit(self, origin: Origin, digest: Digest) -> Admitted:
        """Whether `origin` may read the blob.

        Raises:
            ModelcarError: it may not, or that cannot be told at the moment.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class SameAsClients:
    """The rules for clients, which every node applies for itself: what another node may read with its own login says
    nothing about this one's.

    Attributes:
        identify: registry, repository and `Authorization` (`""` without one) to an origin.
        at_hand: the blob's size if it is known that the origin has the blob and may be read; does not block.
        find: finds that out, and raises what speaks against it.
    """

    identify: Callable[[str, str, str], Origin]
    at_hand: Callable[[Origin, Digest], int | None]
    find: Callable[[Origin, Digest], Awaitable[int]]

    async def admit(self, origin: Origin, digest: Digest) -> Admitted:
        try:
            known = self.identify(origin.registry, origin.repository, origin.authorization or "")
        except DistributionError as e:
            raise Denied(str(e)) from None
        size = self.at_hand(known, digest)
        return Admitted(origin=known, size=await self.find(known, digest) if size is None else size)
