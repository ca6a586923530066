"""The registries behind the mirror: how each is reached, on whose behalf, and whether it is worth asking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from modelcar.cache.origin import Origin
from modelcar.errors import InvalidContent, ModelcarError, RegistryError, Unreachable, UsageError
from modelcar.lazy.sources import SourceKind
from modelcar.registry import ClientSettings, Registry
from registry_shim.mirror.circuit import Circuit
from registry_shim.mirror.settings import MirrorSettings, UpstreamSettings

__all__ = ["Endpoint", "Upstream", "Upstreams", "is_outage"]

T = TypeVar("T")

_ATTEMPTS: Final = 2  # what is stale is better now than what is fresh in a minute
_NETWORK_NAMES: Final = {"docker.io": "registry-1.docker.io"}


def is_outage(error: ModelcarError) -> bool:
    """Whether a registry fails, rather than says no: then what it said before goes on."""
    if not isinstance(error, RegistryError):
        return isinstance(error, InvalidContent)
    return isinstance(error, Unreachable) or error.status in (408, 425, 429) or (error.status or 0) >= 500


class Endpoint:
    """One URL at which a registry, or a mirror of it, answers."""

    def __init__(self, settings: UpstreamSettings, url: str, kind: SourceKind, connections: int) -> None:
        self.url = url
        self.kind = kind
        self.circuit = Circuit()
        self._limits = {"own": Circuit(tolerated=1), "anybody": Circuit(tolerated=1)}
        self._own = Registry(
            ClientSettings(
                ca_file=settings.ca_file,
                docker_config=settings.docker_config,
                concurrency=connections,
                timeout=settings.timeout,
                attempts=_ATTEMPTS,
                address=url,
                namespace=kind is SourceKind.MIRROR,
            )
        )
        self._anybody = self._own.acting_as("")

    def client(self, origin: Origin) -> Registry:
        """A client with the permissions of `origin`."""
        if origin.authorization is None:
            return self._own
        return self._own.acting_as(origin.authorization) if origin.authorization else self._anybody

    def ask(self, origin: Origin, question: Callable[[Registry], T]) -> T:
        """Raises what `question` does, or `Unreachable` if it is not worth asking at the moment."""
        limit = self._limit(origin)
        wait = (limit.wait() if limit is not None else 0.0) or self.circuit.wait()
        if wait:
            error = Unreachable(f"{origin.registry}: it failed a moment ago, and is asked again in {wait:.0f} s")
            error.retry_after = wait
            raise error
        try:
            answer = question(self.client(origin))
        except RegistryError as e:
            self._note(e, limit)
            raise
        except BaseException:
            self.circuit.succeeded()  # it did answer
            raise
        self.circuit.succeeded()
        if limit is not None:
            limit.succeeded()
        return answer

    def _note(self, error: RegistryError, limit: Circuit | None) -> None:
        if error.status == 429:
            self.circuit.succeeded()  # it is well; it is this account that asks too often
            if limit is not None:
                limit.failed(error.retry_after)
        elif is_outage(error) and error.challenge is None:  # else it is the token server that fails
            self.circuit.failed(error.retry_after)
        else:
            self.circuit.succeeded()

    def _limit(self, origin: Origin) -> Circuit | None:
        if origin.authorization:
            return None  # every client's token has a limit of its own
        return self._limits["own" if origin.authorization is None else "anybody"]

    def close(self) -> None:
        self._own.close()


class Upstream:
    """A registry, and the mirrors that are asked before it."""

    def __init__(self, settings: UpstreamSettings, connections: int) -> None:
        self.settings = settings
        name = settings.registry
        urls = settings.urls or (f"https://{_NETWORK_NAMES.get(name, name)}",)
        kinds = [SourceKind.MIRROR] * (len(urls) - 1) + [SourceKind.UPSTREAM]
        self.endpoints = tuple(
            Endpoint(settings, url, kind, connections) for url, kind in zip(urls, kinds, strict=True)
        )

    def ask(self, origin: Origin, question: Callable[[Registry], T]) -> T:
        """What the first that can answer says; the registry itself, which comes last, has the last word.

        Where the client's own permissions decide it has the only one: mirrors may give to anybody, and under any name,
        what they have.

        Raises:
            RegistryError, InvalidContent: as `question` does.
        """
        for endpoint in self.endpoints[:-1] if origin.authorization is None else ():
            try:
                return endpoint.ask(origin, question)
            except (RegistryError, InvalidContent):
                continue
        return self.endpoints[-1].ask(origin, question)

    def close(self) -> None:
        for endpoint in self.endpoints:
            endpoint.close()


class Upstreams:
    """All registries that are mirrored, by the names that users write. Close it."""

    def __init__(self, settings: MirrorSettings) -> None:
        self._known: dict[str, Upstream] = {}
        self.reload(settings)

    def __getitem__(self, registry: str) -> Upstream:
        """Raises `UsageError` for what is not mirrored."""
        try:
            return self._known[registry]
        except KeyError:
            raise UsageError(f"{registry} is not an upstream of this node", hint="add it to `upstreams`") from None

    def __iter__(self) -> Iterator[Upstream]:
        return iter(list(self._known.values()))

    def __contains__(self, registry: object) -> bool:
        return registry in self._known

    def reload(self, settings: MirrorSettings) -> None:
        """Take over which there are; those whose settings stay keep their connections, and what is known of them.
        Requests to others end as they began."""
        before = self._known
        self._known = {s.registry: _same(before.get(s.registry), s, settings.asking) for s in settings.upstreams}
        for upstream in before.values():
            if upstream not in self._known.values():
                upstream.close()

    def close(self) -> None:
        for upstream in self:
            upstream.close()


def _same(known: Upstream | None, settings: UpstreamSettings, connections: int) -> Upstream:
    return known if known is not None and known.settings == settings else Upstream(settings, connections)
