"""What every handler works with."""

from __future__ import annotations

from dataclasses import dataclass

from modelcar.oci import Digest
from modelcar.serving.messages import Request
from modelcar.store.base import Store
from registry_shim.distribution.errors import DistributionError
from registry_shim.distribution.repositories import Repositories, Repository
from registry_shim.distribution.sessions import Sessions

__all__ = ["Call", "Context", "Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the registry lets its clients do."""

    writable: bool = False
    deletable: bool = True
    """Whether a writable registry deletes."""


@dataclass(frozen=True, slots=True)
class Context:
    store: Store
    repositories: Repositories
    sessions: Sessions
    settings: Settings

    def require_writable(self) -> None:
        if not self.settings.writable:
            raise DistributionError("DENIED", "this registry is read-only: it runs without --writable", status=405)

    def require_deletable(self) -> None:
        self.require_writable()
        if not self.settings.deletable:
            raise DistributionError("UNSUPPORTED", "this registry does not delete: it runs with --no-delete")


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way to a handler: for the repository `name`; `rest` is what stands in the path behind the
    endpoint's word (a digest, a tag, a session)."""

    context: Context
    request: Request
    name: str
    rest: str

    @property
    def repository(self) -> Repository:
        return self.context.repositories[self.name]

    def has_blob(self, digest: Digest, repository: Repository | None = None) -> bool:
        """Whether the repository links this blob and the store still has it (others may share that)."""
        return (repository or self.repository).has_blob(digest) and digest in self.context.store

    def has_manifest(self, digest: Digest) -> bool:
        return self.repository.has_manifest(digest) and digest in self.context.store
