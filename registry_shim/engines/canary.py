"""References that every shim refuses (`gate/`), so that anyone can see whether refusals hold."""

from __future__ import annotations

import secrets
from typing import Final

from modelcar.oci import Reference

__all__ = ["MARK", "canary_of", "is_canary"]

MARK: Final = "refused on purpose"
"""Words of the refusal that nobody else's has."""
_REPOSITORIES: Final = "modelcar.dev/doctor/"


def canary_of(registry: str) -> Reference:
    """A new one: no answer to it lies in a cache."""
    return Reference(registry=registry, repository=f"{_REPOSITORIES}{secrets.token_hex(8)}", tag="forbidden")


def is_canary(repository: str) -> bool:
    return repository.startswith(_REPOSITORIES)
