"""Where a request is headed: which repository of which upstream, and on whose behalf."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelcar.oci import Digest, Reference

__all__ = ["Origin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A repository of an upstream registry, by the name that users write (`ghcr.io`, not where we reach it).

    `authorization` decides what may be read there: the header that the client sent; `""` for a client that sent none,
    which may read what anybody may; `None` for the node itself, with its own login.
    """

    registry: str
    repository: str
    authorization: str | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """`registry/repository`: what patterns in configurations and policies match."""
        return f"{self.registry}/{self.repository}"

    def reference(self, *, tag: str | None = None, digest: Digest | None = None) -> Reference:
        return Reference(registry=self.registry, repository=self.repository, tag=tag, digest=digest)

    def __str__(self) -> str:
        return self.name
