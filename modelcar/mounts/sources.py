"""Where the keeper gets blobs from: registries, with a login that is asked for anew, and layouts on this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from modelcar.cache.origin import Origin
from modelcar.cache.origins import Origins
from modelcar.errors import ModelcarError, NotFound, RemoteNotFound, Unreachable
from modelcar.layers.bytemap import ByteReader
from modelcar.lazy.grid import Grid
from modelcar.lazy.sources import ByteStream, ChunkSource, Outcome, SourceKind
from modelcar.lazy.upstream import Offer, RegistrySource
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.locations import LayoutLocation, StoredLocation, open_layout, parse_location
from modelcar.registry import ClientSettings, Registry
from modelcar.store import Layout, LocalStore

__all__ = ["Remotes", "client_settings", "network_of", "origin_of_layout", "origin_of_store"]

_ATTEMPTS: Final = 2  # a transfer has a patience of its own
_STORE: Final = "store:"
_STREAMS: Final = 16


def origin_of_layout(location: StoredLocation) -> Origin:
    """A layout on this machine, as an origin: its `registry` is where it lies."""
    if isinstance(location, LayoutLocation):
        return Origin(registry=f"oci:{location.folder.resolve()}", repository="")
    return Origin(registry=f"oci-archive:{location.file.resolve()}", repository="")


def origin_of_store(store: LocalStore) -> Origin:
    """The user's own store, as an origin."""
    return Origin(registry=f"{_STORE}{store.home.resolve()}", repository="")


def network_of(settings: ClientSettings, environment: Mapping[str, str] = os.environ) -> tuple[tuple[str, str], ...]:
    """How registries are to be reached, as texts without secrets: where logins are kept is part of that."""
    config = settings.docker_config or environment.get("REGISTRY_AUTH_FILE") or environment.get("DOCKER_CONFIG")
    found = {
        "plain_http": "yes" if settings.plain_http else None,
        "plain_http_at": ",".join(sorted(settings.plain_http_at)),
        "ca_file": settings.ca_file and Path(settings.ca_file).resolve(),
        "docker_config": config and Path(config).resolve(),
    }
    return tuple((name, str(value)) for name, value in found.items() if value)


def client_settings(network: Iterable[tuple[str, str]]) -> ClientSettings:
    """The settings that `network_of` made these texts of."""
    known = dict(network)
    return ClientSettings(
        plain_http="plain_http" in known,
        plain_http_at=frozenset(filter(None, known.get("plain_http_at", "").split(","))),
        ca_file=Path(known["ca_file"]) if "ca_file" in known else None,
        docker_config=Path(known["docker_config"]) if "docker_config" in known else None,
        attempts=_ATTEMPTS,
        concurrency=_STREAMS,
        timeout=20,
    )


class Remotes:
    """Makes the `Router` of every blob (a `RouterFor`). Safe to use from several threads. Close it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._networks: dict[str, tuple[tuple[str, str], ...]] = {}
        self._clients: dict[tuple[tuple[str, str], ...], Registry] = {}
        self._layouts: dict[str, Layout] = {}

    def know(self, registry: str, network: tuple[tuple[str, str], ...]) -> None:
        """From now on this registry is reached so."""
        with self._lock:
            self._networks[registry] = network

    def __call__(self, _: Descriptor, origins: Origins) -> _Router:
        return _Router(self, origins)

    def client(self, registry: str) -> Registry:
        """Raises `Unreachable` if its settings name a file that is gone."""
        with self._lock:
            network = self._networks.get(registry, ())
            if network not in self._clients:
                try:
                    self._clients[network] = Registry(client_settings(network))
                except ModelcarError as e:
                    raise Unreachable(f"{registry}: {e}") from None
            return self._clients[network]

    def layout(self, place: str) -> Layout:
        """Raises a `ModelcarError` if there is none any more."""
        with self._lock:
            if place not in self._layouts:
                self._layouts[place] = _open(place)
            return self._layouts[place]

    def close(self) -> None:
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()


class _Router:
    """A `Router` for one blob: every place through which it was asked for."""

    def __init__(self, remotes: Remotes, origins: Origins) -> None:
        self._remotes, self._origins = remotes, origins
        self._sources: dict[str, ChunkSource] = {}

    def background(self, grid: Grid) -> Iterable[int]:
        return range(len(grid))

    def candidates(self, _grid: Grid, _number: int) -> Sequence[ChunkSource]:
        return [self._source(registry) for registry in dict.fromkeys(o.registry for o in self._origins.known())]

    def is_at_hand(self, _grid: Grid, _number: int) -> bool:
        return True

    def report(self, source: ChunkSource, outcome: Outcome, size: int, seconds: float) -> None:
        """Nobody chooses."""

    def _source(self, registry: str) -> ChunkSource:
        if registry not in self._sources:
            local = registry.startswith((_STORE, "oci:", "oci-archive:"))
            self._sources[registry] = (
                _LayoutSource(registry, self._remotes)
                if local
                else RegistrySource(registry, lambda digest: self._offers(registry, digest))
            )
        return self._sources[registry]

    def _offers(self, registry: str, digest: Digest) -> list[Offer]:
        client = self._remotes.client(registry)
        return [(client, o.reference(digest=digest)) for o in self._origins.known() if o.registry == registry]


class _LayoutSource:
    """A `ChunkSource` over a layout on this machine. What comes of it is verified like anything else."""

    kind = SourceKind.UPSTREAM

    def __init__(self, place: str, remotes: Remotes) -> None:
        self.name = place
        self._remotes = remotes

    @contextmanager
    def fetch(self, grid: Grid, offset: int, length: int) -> Iterator[ByteStream]:
        with self._open(grid.digest, offset, length) as reader:
            yield _Local(reader, self.name)

    def _open(self, digest: Digest, offset: int, length: int) -> ByteReader:
        try:
            return self._remotes.layout(self.name).open(digest, offset, length)
        except NotFound as e:
            raise RemoteNotFound(str(e)) from None
        except ValueError:
            raise RemoteNotFound(f"{digest} in {self.name} has not {offset + length} bytes") from None
        except ModelcarError as e:
            raise Unreachable(f"{self.name}: {e}") from None


class _Local:
    def __init__(self, reader: ByteReader, name: str) -> None:
        self._reader, self._name = reader, name

    def read(self, n: int, /) -> bytes:
        try:
            return self._reader.read(n)
        except ModelcarError as e:
            raise Unreachable(f"{self._name}: {e}") from None

    def close(self) -> None:
        """A read of a local file comes to its end."""


def _open(place: str) -> Layout:
    if place.startswith(_STORE):
        return LocalStore(place.removeprefix(_STORE)).content
    location = parse_location(place)
    if not isinstance(location, StoredLocation):
        raise NotFound(f"{place} is no layout")
    return open_layout(location)
