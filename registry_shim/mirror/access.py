"""Private stays private: whose word decides what a client may read, and for how long an answer is believed.

The upstream decides. What it said of a token and a repository is kept in memory, under a keyed hash of the token, for a
short time; that anybody may read a repository is kept on disk as well, for when the upstream is gone.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final

from modelcar.cache.origin import Origin
from modelcar.errors import ModelcarError, RegistryError, Unauthorized
from modelcar.signing.policy.globs import Glob
from registry_shim.distribution.errors import DistributionError
from registry_shim.mirror.facts import Facts
from registry_shim.mirror.memory import Memory
from registry_shim.mirror.settings import Access, MirrorSettings
from registry_shim.mirror.upstreams import is_outage

__all__ = ["Gatekeeper"]

_ANYBODY: Final = ""


class Gatekeeper:
    """Answers of upstreams to "may this client read that repository?". Safe to share between threads."""

    def __init__(self, settings: MirrorSettings, facts: Facts, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._facts = facts
        self._key = secrets.token_bytes(32)
        self._granted: Memory[bytes, bool] = Memory(settings.remembered, settings.access_seconds, clock=clock)
        self._refused: Memory[bytes, RegistryError] = Memory(settings.remembered, settings.refused_seconds, clock=clock)
        self.reload(settings)

    def reload(self, settings: MirrorSettings) -> None:
        """Take over whose login decides for which repositories."""
        self._own = {u.registry: tuple(Glob(text) for text in u.repositories) for u in settings.upstreams}
        self._closed = {u.registry for u in settings.upstreams if u.access is Access.OWN}

    def identify(self, registry: str, repository: str, authorization: str) -> Origin:
        """Whom a request for a repository is made for, given the header that came with it (`""` if none did).

        Raises:
            DistributionError: only listed repositories of this registry are served, and this is none of them.
        """
        if any(glob.matches((repository,)) for glob in self._own.get(registry, ())):
            return Origin(registry=registry, repository=repository)
        if registry in self._closed:
            message = f"{registry}/{repository} is not among the repositories that this node may serve"
            raise DistributionError("DENIED", message)
        return Origin(registry=registry, repository=repository, authorization=authorization)

    def granted(self, origin: Origin) -> bool:
        """Whether it is known, without asking, that `origin` may be read. Never waits."""
        if origin.authorization is None:
            return True
        return any(self._granted.get(key) is not None for key in self._keys(origin))

    def check_refused(self, origin: Origin) -> None:
        """Raise what the upstream said a moment ago, if that was no."""
        if origin.authorization is not None:
            error = self._refused.get(self._hash(origin, origin.authorization))
            if error is not None:
                raise copy.copy(error)

    def grant(self, origin: Origin) -> None:
        """The upstream has just answered a question about `origin`."""
        if origin.authorization is None:
            return
        self._granted.put(self._hash(origin, origin.authorization), True)
        self._refused.drop(self._hash(origin, origin.authorization))
        if origin.authorization == _ANYBODY:
            self._facts.set_public(origin, public=True)

    def forget(self, origin: Origin) -> None:
        """Ask again before `origin` is believed."""
        for key in self._keys(origin):
            self._granted.drop(key)

    def doubt(self, origin: Origin) -> None:
        """What the upstream had, it has not for `origin` any more: deleted, or hidden since from those who may not read
        it, which some registries do instead of refusing."""
        self.forget(origin)
        if origin.authorization == _ANYBODY:
            self._facts.set_public(origin, public=False)

    def refuse(self, origin: Origin, error: RegistryError) -> None:
        """The upstream has just said no (401, 403)."""
        if origin.authorization is None:
            return
        key = self._hash(origin, origin.authorization)
        self._granted.drop(key)
        self._refused.put(key, copy.copy(error))  # without its traceback
        if origin.authorization == _ANYBODY:
            self._facts.set_public(origin, public=False)

    def stand_in(self, origin: Origin, error: ModelcarError, *, known: bool) -> None:
        """The upstream has answered a question of `origin` with `error`. Returns if what is known here may be served
        instead: the upstream fails, and who asks was allowed to read this before. Else raises what the client is told.
        """
        if isinstance(error, RegistryError) and error.status in (401, 403):
            self.refuse(origin, error)
        if known and self._settings.stale and is_outage(error) and self._may_offline(origin):
            return
        if origin.authorization == _ANYBODY and isinstance(error, RegistryError) and error.challenge is not None:
            refusal = Unauthorized(str(error), status=401)  # perhaps the client can reach the token server
            refusal.challenge = error.challenge
            raise refusal
        raise error

    def _may_offline(self, origin: Origin) -> bool:
        if origin.authorization is None or self._facts.is_public(origin):
            return True
        grace = self._settings.grace_seconds
        return any(self._granted.get(key, late=grace) is not None for key in self._keys(origin))

    def _keys(self, origin: Origin) -> tuple[bytes, ...]:
        """What anybody may read, everybody may."""
        own = self._hash(origin, origin.authorization or _ANYBODY)
        return (own, self._hash(origin, _ANYBODY)) if origin.authorization else (own,)

    def _hash(self, origin: Origin, authorization: str) -> bytes:
        message = f"{origin.name}\n{authorization}".encode()
        return hmac.digest(self._key, message, hashlib.sha256)
