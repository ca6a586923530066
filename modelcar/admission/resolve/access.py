"""What a reference means to whoever asks: tags and digests, with the credentials of the pod.

A private image stays private. What a registry said is remembered under the logins that it was shown, not under the
namespace that showed them: whoever has the same login would be told the same, and nobody profits from what was told to
another one. So a pod that may not read an image learns neither its digest nor whether it exists, though another
namespace's pod has just been told; and only behind that door lies what is remembered by digest alone (who runs it, what
policies say), because a digest says nothing to those who cannot read what it is the digest of.

As a kubelet does, the logins of the pod's secrets that are for an image are tried in turn, and nothing else then. Where
none is for it, this program's own login files are, as a node's would be, or nobody's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from modelcar.admission.resolve.memory import Look, Memory, Problem
from modelcar.errors import Forbidden, RegistryError, RemoteNotFound, Unauthorized
from modelcar.oci import Descriptor, Digest, Reference
from modelcar.registry import Registry
from modelcar.registry.credentials import Login

__all__ = ["Access", "Logins", "Opened"]

Logins = tuple[Login, ...]

_REMEMBERED: Final = 10_000
_CLIENTS: Final = 1000  # accounts whose tokens are kept
_OWNER_SECONDS: Final = 86_400.0  # a day: until then replicas that are made anew agree with the old ones
_NO: Final = (Unauthorized, Forbidden, RemoteNotFound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An image that the asker may read.

    Attributes:
        ref: as the pod writes it.
        root: what it stands for.
        login: which of the logins opened the door; `None`: no secret's.
    """

    ref: Reference
    root: Descriptor
    login: Login | None = None


class Access:
    """Safe to share between threads."""

    def __init__(self, registry: Registry, *, seconds: float) -> None:
        self._registry = registry
        self._opened: Memory[tuple[Logins, str, str], Opened] = Memory(_REMEMBERED, seconds=seconds)
        self._clients: Memory[Login, Registry] = Memory(_CLIENTS)
        self._owners: Memory[tuple[str, str], Digest] = Memory(_REMEMBERED, seconds=_OWNER_SECONDS)

    def open(self, ref: Reference, logins: Logins, owner: str | None, look: Look) -> Opened | Problem:
        """What `ref` stands for, if one of `logins` may read it (anybody, or this program, if there are none).

        Args:
            owner: what the pods belong to that shall agree on what a tag means.

        Raises:
            NotAtHand: as `Memory.look`.
        """
        if ref.digest is not None or owner is None:
            return self._open(ref, logins, look)
        key = (owner, f"{ref.name}:{ref.tag}")
        digest = self._owners.get(key)
        if isinstance(digest, Digest):
            opened = self._open(ref.with_digest(digest), logins, look)
            return opened if isinstance(opened, Problem) else replace(opened, ref=ref)
        opened = self._open(ref, logins, look)
        if isinstance(opened, Problem) or self._owners.settle(key, opened.root.digest) == opened.root.digest:
            return opened
        return self.open(ref, logins, owner, look)  # another replica was told something else meanwhile

    def client(self, opened: Opened) -> Registry:
        """A client that is let in by the same door."""
        return self._client(opened.login)

    def _open(self, ref: Reference, logins: Logins, look: Look) -> Opened | Problem:
        key = (logins, ref.name, ref.target)
        opened = self._opened.look(key, lambda: self._ask(ref, logins), look)
        if isinstance(opened, Opened) and ref.digest is None:  # of one who may read it by its tag nobody asks again
            by_digest = (logins, ref.name, str(opened.root.digest))
            if self._opened.get(by_digest) is None:
                self._opened.put(by_digest, opened)
        return opened if isinstance(opened, Problem) else replace(opened, ref=ref)

    def _ask(self, ref: Reference, logins: Logins) -> Opened:
        refused: RegistryError | None = None
        for login in logins or (None,):
            try:
                root = self._client(login).resolve(ref)
            except _NO as e:
                refused = e
            else:
                return Opened(ref=ref, root=root, login=login)
        assert refused is not None  # noqa: S101  # there is at least one door
        raise refused

    def _client(self, login: Login | None) -> Registry:
        if login is None:
            return self._registry
        known = self._clients.get(login)
        if not isinstance(known, Registry):
            known = self._registry.logged_in_as(login)
            self._clients.put(login, known)
        return known
