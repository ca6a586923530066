"""The reference that a shim always refuses, so that anyone can see whether refusals hold."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from modelcar.errors import Denied
from modelcar.oci import Descriptor, Digest, Reference
from registry_shim.mirror.admission import Admission
from registry_shim.origin import Origin

__all__ = ["MARK", "CanaryAdmission", "canary_of", "is_canary"]

MARK: Final = "refused on purpose"
"""Words of the refusal that nobody else's has."""
_REPOSITORIES: Final = "modelcar.dev/doctor/"


def canary_of(registry: str) -> Reference:
    """A new one: no answer to it lies in a cache."""
    return Reference(registry=registry, repository=f"{_REPOSITORIES}{secrets.token_hex(8)}", tag="forbidden")


def is_canary(repository: str) -> bool:
    return repository.startswith(_REPOSITORIES)


class CanaryAdmission:
    """Refuses canaries, and asks `behind` about everything else. `seen` is called for each refusal."""

    def __init__(self, behind: Admission, *, seen: Callable[[], None] = lambda: None) -> None:
        self._behind = behind
        self._seen = seen

    def admit_repository(self, origin: Origin) -> None:
        if is_canary(origin.repository):
            self._seen()
            raise Denied(
                f"{origin} is {MARK}, so that `registry-shim doctor` can see that refusals hold",
                hint="no image has that name",
            )
        self._behind.admit_repository(origin)

    async def admit(self, origin: Origin, descriptor: Descriptor, content: bytes) -> tuple[str, ...]:
        return await self._behind.admit(origin, descriptor, content)

    async def admit_blob(self, origin: Origin, digest: Digest) -> None:
        await self._behind.admit_blob(origin, digest)
