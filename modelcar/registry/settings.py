"""How a registry client behaves: what a person or configuration may choose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelcar.registry.mutual import MutualTls

__all__ = ["ClientSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Times are seconds, sizes are bytes.

    Attributes:
        plain_http: speak HTTP without TLS to every registry; loopback ones are spoken to like that anyway.
        plain_http_at: registries (`host[:port]`) that are spoken to without TLS, besides loopback ones.
        ca_file: PEM certificates to trust besides the system's.
        concurrency: how many blobs are moved at once.
        timeout: how long a connection may take to make, and then stand still.
        commit_timeout: how long a registry may take to answer once it has a whole blob (Quay's is slow); large ones get
            more.
        attempts: how often a request is tried before its failure is reported.
        chunk_size: send blobs in pieces of this size; `None` sends each in one request where the registry takes that.
        docker_config: Docker's `config.json`, or its folder, instead of the usual places.
        address: where all registries are reached, whatever their names: a URL, for a client of one registry or mirror.
        namespace: tell a mirror at `address` which registry is meant (`?ns=`).
        mutual_tls: show a certificate, and talk only to those that show one of the same kind.
        direct: never go through a proxy of the environment.
        limit_rate: bytes a second that blobs may take in all; `None` is no limit.
        state: a folder that remembers what registries do, and uploads that are under way; `None`: nothing does.
        dialect: what kind of registry they are (`GHCR`), instead of what their names say.
    """

    plain_http: bool = False
    plain_http_at: frozenset[str] = frozenset()
    ca_file: Path | None = None
    concurrency: int = 4
    timeout: float = 60
    commit_timeout: float = 900
    attempts: int = 5
    chunk_size: int | None = None
    docker_config: Path | None = None
    address: str | None = None
    namespace: bool = False
    mutual_tls: MutualTls | None = None
    direct: bool = False
    limit_rate: float | None = None
    state: Path | None = None
    dialect: str | None = None
