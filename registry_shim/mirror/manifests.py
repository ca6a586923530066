"""Manifests by tag or digest: from here where that is right, else from the upstream, and from here if that fails."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from modelcar.cache.origin import Origin
from modelcar.errors import InvalidContent, ModelcarError, RegistryError, RemoteNotFound
from modelcar.oci import Descriptor, Digest, Reference
from registry_shim.mirror.access import Gatekeeper
from registry_shim.mirror.facts import Facts, Kept
from registry_shim.mirror.memory import Memory
from registry_shim.mirror.settings import MirrorSettings
from registry_shim.mirror.upstreams import Upstreams

__all__ = ["Found", "Manifests"]

_ATTACHMENT: Final = re.compile(r"(sha256)-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?")
_QUIET: Final = 60.0  # seconds before the log repeats itself
_log = logging.getLogger("registry_shim.mirror")


@dataclass(frozen=True, slots=True)
class Found:
    """`source` is `hit`, `miss`, or `stale`: its upstream could not be asked whether it still is so."""

    kept: Kept
    source: str

    @property
    def descriptor(self) -> Descriptor:
        return self.kept.descriptor


class Manifests:
    """Blocks while it asks an upstream; safe to share between threads."""

    def __init__(
        self,
        settings: MirrorSettings,
        upstreams: Upstreams,
        facts: Facts,
        gatekeeper: Gatekeeper,
        learn: Callable[[Origin, Kept], None] = lambda _origin, _kept: None,
    ) -> None:
        """`learn` is told of every manifest that came in."""
        self._upstreams = upstreams
        self._facts = facts
        self._gatekeeper = gatekeeper
        self._learn = learn
        self._tags: Memory[tuple[str, str], Digest] = Memory(settings.remembered, settings.tag_seconds)
        self._said: Memory[tuple[str, str], bool] = Memory(1000, _QUIET)
        self._missing: Memory[tuple[str, str, str | None], RemoteNotFound] = Memory(
            settings.remembered, settings.missing_seconds
        )

    def at_hand(self, origin: Origin, target: str | Digest) -> Found | None:
        """The answer if nobody need be asked for it; never waits for more than a look at the file system."""
        digest = target if isinstance(target, Digest) else self._tags.get((origin.name, target))
        if digest is None or not self._gatekeeper.granted(origin) or self._facts.remembered(origin, digest) is None:
            return None
        kept = self._facts.manifest(origin, digest)
        return Found(kept, "hit") if kept else None

    def find(self, origin: Origin, target: str | Digest) -> Found:
        """The manifest with that tag or digest, once it is certain that `origin` may be read.

        Raises:
            RegistryError, InvalidContent: as the upstream says, and nothing here may stand in for it.
        """
        digest = target if isinstance(target, Digest) else self._tags.get((origin.name, target))
        if digest is not None and self._gatekeeper.granted(origin):
            kept = self._facts.manifest(origin, digest)
            if kept is not None:
                return Found(kept, "hit")
        self._gatekeeper.check_refused(origin)
        key = (origin.name, str(target), origin.authorization)
        if (missing := self._missing.get(key)) is not None:
            raise copy.copy(missing)
        known = self._known(origin, target)
        try:
            found = self._ask(origin, target, known)
        except (RegistryError, InvalidContent) as e:
            if isinstance(e, RemoteNotFound):
                self._missing.put(key, copy.copy(e))  # without its traceback, which keeps all that it passed alive
                self._note_absent(origin, target, absent=True)
            return self._without(origin, target, known, e)
        self._gatekeeper.grant(origin)
        if not isinstance(target, Digest):
            self._point(origin, target, found.descriptor.digest)
        return found

    def _known(self, origin: Origin, target: str | Digest) -> Kept | None:
        digest = target if isinstance(target, Digest) else self._facts.resolve(origin, target)
        return self._facts.manifest(origin, digest) if digest else None

    def _ask(self, origin: Origin, target: str | Digest, known: Kept | None) -> Found:
        """By HEAD whether what is known is still so, else for the manifest itself."""
        ref = _reference(origin, target)
        upstream = self._upstreams[origin.registry]
        if known is not None:
            current = upstream.ask(origin, lambda client: client.resolve(ref)).digest
            if current == known.descriptor.digest:
                return Found(known, "hit")
            if (kept := self._facts.manifest(origin, current)) is not None:
                return Found(kept, "hit")
            ref = ref.with_digest(current)
        descriptor, content = upstream.ask(origin, lambda client: client.document(ref))
        kept = self._facts.keep(origin, content, descriptor.media_type, descriptor.digest)
        self._learn(origin, kept)
        return Found(kept, "miss")

    def _without(self, origin: Origin, target: str | Digest, known: Kept | None, error: ModelcarError) -> Found:
        """What is known, if the upstream fails; else its no."""
        if isinstance(error, RemoteNotFound) and known is not None:
            if not isinstance(target, Digest):
                self._tags.drop((origin.name, target))
                self._facts.repository(origin).remove_tag(target)
            if isinstance(target, Digest) or self._is_gone(origin, known.descriptor.digest):
                self._gatekeeper.doubt(origin)
        absent = known is None and isinstance(target, str) and self._facts.is_absent(origin, target)
        self._gatekeeper.stand_in(origin, error, known=known is not None or absent)
        if known is None:
            raise RemoteNotFound(f"{origin}: there was no {target} when its registry was last asked", status=404)
        if self._said.get((origin.name, str(target))) is None:
            self._said.put((origin.name, str(target)), True)
            _log.warning("%s: serving %s as it was, because %s", origin, target, error)
        return Found(known, "stale")

    def _is_gone(self, origin: Origin, digest: Digest) -> bool:
        """Whether more is gone than a tag, which tells nothing of who may read the repository."""
        ref = origin.reference(digest=digest)
        try:
            self._upstreams[origin.registry].ask(origin, lambda client: client.resolve(ref))
        except (RegistryError, InvalidContent) as e:
            return isinstance(e, RemoteNotFound)
        return False

    def _note_absent(self, origin: Origin, target: str | Digest, *, absent: bool) -> None:
        """That an image has no signature of some kind is a part of verifying it while its upstream is gone."""
        match = _ATTACHMENT.fullmatch(target) if isinstance(target, str) else None
        if match is not None and self._facts.manifest(origin, Digest(match[1], match[2])) is not None:
            self._facts.set_absent(origin, match[0], absent=absent)

    def _point(self, origin: Origin, tag: str, digest: Digest) -> None:
        repository = self._facts.repository(origin)
        with repository.changing():
            if self._facts.resolve(origin, tag) != digest:
                repository.set_tag(tag, digest)
                self._note_absent(origin, tag, absent=False)
        self._tags.put((origin.name, tag), digest)


def _reference(origin: Origin, target: str | Digest) -> Reference:
    return origin.reference(digest=target) if isinstance(target, Digest) else origin.reference(tag=target)
