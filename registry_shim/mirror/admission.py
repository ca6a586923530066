"""What the mirror asks before anything leaves it. The gate answers; without one everything may be served."""

from __future__ import annotations

from typing import Protocol

from modelcar.cache.origin import Origin
from modelcar.oci import Descriptor, Digest

__all__ = ["Admission", "Unguarded"]


class Admission(Protocol):
    """Every method raises `Denied`, with a message for whoever pulls and a hint, for what must not be served.

    Ask only after it is clear that the client may read the repository: a refusal tells what is in it.
    """

    def admit_repository(self, origin: Origin) -> None:
        """Before anything of a repository is looked for, here or upstream. Does not block."""

    async def admit(self, origin: Origin, descriptor: Descriptor, content: bytes) -> tuple[str, ...]:
        """Before a manifest or index leaves, for GET and HEAD; `content` are its verified bytes.

        Returns warnings, which the client is told in `Warning` headers.
        """

    async def admit_blob(self, origin: Origin, digest: Digest) -> None:
        """Before a blob leaves, for GET and HEAD."""


class Unguarded:
    """Everything may be served."""

    def admit_repository(self, origin: Origin) -> None:
        pass

    async def admit(self, origin: Origin, descriptor: Descriptor, content: bytes) -> tuple[str, ...]:  # noqa: ARG002  # the protocol's: everything is let in
        return ()

    async def admit_blob(self, origin: Origin, digest: Digest) -> None:
        pass
