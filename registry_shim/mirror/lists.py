"""Lists: the tags of a repository, and what refers to a manifest. As the upstream gives them, or last gave them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

from modelcar.cache.origin import Origin
from modelcar.errors import InvalidContent, InvalidDocument, ModelcarError, RegistryError, RemoteNotFound
from modelcar.oci import Descriptor, Digest
from modelcar.registry import Registry
from registry_shim.mirror.access import Gatekeeper
from registry_shim.mirror.facts import Facts
from registry_shim.mirror.memory import Memory
from registry_shim.mirror.settings import MirrorSettings
from registry_shim.mirror.upstreams import Upstreams

__all__ = ["Listed", "Lists"]

T = TypeVar("T")

_MOST_TAGS: Final = 100_000
_TAGS: Final = "tags"
_log = logging.getLogger("registry_shim.mirror")


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """`source` is `hit`, `miss`, or `stale`: its upstream could not be asked."""

    entries: tuple[T, ...]
    source: str


class Lists:
    """Blocks while it asks an upstream; safe to share between threads."""

    def __init__(self, settings: MirrorSettings, upstreams: Upstreams, facts: Facts, gatekeeper: Gatekeeper) -> None:
        self._upstreams = upstreams
        self._facts = facts
        self._gatekeeper = gatekeeper
        self._fresh: Memory[tuple[str, str], bool] = Memory(settings.remembered, settings.tag_seconds)

    def tags(self, origin: Origin) -> Listed[str]:
        """All tags. Raises `RegistryError` or `InvalidContent` as the upstream does, unless the last list will do."""
        ref = origin.reference(tag="latest")

        def ask(client: Registry) -> list[object]:
            return list(islice(client.tags(ref), _MOST_TAGS))

        found, source = self._find(origin, _TAGS, ask, keep_empty=True)
        return Listed(tuple(entry for entry in found if isinstance(entry, str)), source)

    def referrers(self, origin: Origin, subject: Digest) -> Listed[Descriptor]:
        """What refers to a manifest, by the API or the tag that stands in for it, and what is known here to do so."""
        ref = origin.reference(digest=subject)

        def ask(client: Registry) -> list[object]:
            entries: list[object] = [entry.to_dict() for entry in client.referrers(ref, subject).manifests]
            if not entries:  # a mirror may have no such API: the next one is asked
                raise RemoteNotFound(f"nothing in {origin} refers to {subject}", status=404)
            return entries

        # Else whoever makes up digests fills the disk with empty lists.
        real = self._facts.repository(origin).has_manifest(subject)
        here = self._facts.repository(origin).referrers(subject)
        name = f"{subject.algorithm}-{subject.hex}"
        found, source = self._find(origin, name, ask, keep_empty=real, stand_in=bool(here))
        listed = list(_descriptors(found))
        if source == "stale":
            known = {entry.digest for entry in listed}
            listed += [entry for entry in here if entry.digest not in known]
        return Listed(tuple(listed), source)

    def _find(
        self,
        origin: Origin,
        name: str,
        ask: Callable[[Registry], list[object]],
        *,
        keep_empty: bool,
        stand_in: bool = False,
    ) -> tuple[list[object], str]:
        """`stand_in`: something else can be said if neither the upstream answers nor a list of its is known."""
        known = self._facts.read_list(origin, name)
        if known is not None and self._gatekeeper.granted(origin) and self._fresh.get((origin.name, name)):
            return known, "hit"
        self._gatekeeper.check_refused(origin)
        try:
            found = self._upstreams[origin.registry].ask(origin, ask)
        except (RegistryError, InvalidContent) as e:
            if name == _TAGS or not isinstance(e, RemoteNotFound):
                return self._without(origin, known, e, stand_in=stand_in), "stale"
            found = []
        if found:
            self._gatekeeper.grant(origin)
        elif not self._gatekeeper.granted(origin):  # where somebody may read nothing, some registries have nothing
            return found, "miss"
        if found or keep_empty:
            self._facts.write_list(origin, name, found)
        self._fresh.put((origin.name, name), True)
        return found, "miss"

    def _without(
        self, origin: Origin, known: list[object] | None, error: ModelcarError, *, stand_in: bool
    ) -> list[object]:
        # That nothing refers to an image must not be said by mistake: it would hide an attestation against it.
        self._gatekeeper.stand_in(origin, error, known=known is not None or stand_in)
        _log.info("%s: serving a list as it was, because %s", origin, error)
        return known or []


def _descriptors(entries: list[object]) -> Iterator[Descriptor]:
    """Those that are; a list that was kept may be damaged."""
    for entry in entries:
        with suppress(InvalidDocument):
            yield Descriptor.from_dict(entry)
