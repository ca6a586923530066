"""What a person or configuration chooses of a mirror."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from modelcar.errors import InvalidReference, UsageError
from modelcar.oci import Reference
from modelcar.signing.policy.globs import Glob

__all__ = ["Access", "MirrorSettings", "UpstreamSettings"]

_SUFFIX: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


class Access(StrEnum):
    """Who decides what a client may read."""

    PASSTHROUGH = "passthrough"
    """The upstream, by the client's own token: its challenge is passed on. What anybody may read needs none."""
    OWN = "own"
    """The list `repositories` alone, read with the node's own login."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """A registry that is mirrored.

    Attributes:
        registry: its name as users write it: `ghcr.io`, `registry.example:5000`.
        urls: where it is reached, the first first; `https://NAME` by default. All but the last are mirrors of it
            (another shim, Dragonfly, Spegel): they are asked with `?ns=`, and what they lack the next one is asked for.
            Where clients' own permissions decide, mirrors are asked for the bytes of blobs alone.
        access: who decides what a client may read.
        repositories: globs of repositories (`org/*`, `org/**`, without the registry) that are read with the node's own
            login and served to whoever reaches this port. `own` needs some.
        ca_file: PEM certificates to trust besides the system's.
        docker_config: the file with the node's own logins, instead of the usual places.
        timeout: seconds that the upstream may stand still.
    """

    registry: str
    urls: tuple[str, ...] = ()
    access: Access = Access.PASSTHROUGH
    repositories: tuple[str, ...] = ()
    ca_file: Path | None = None
    docker_config: Path | None = None
    timeout: float = 20.0

    def __post_init__(self) -> None:
        if "@" in self.registry:  # never shown: it may be a password
            raise UsageError("the name of a registry takes no credentials", hint="log in with `docker login`")
        try:
            Reference(registry=self.registry, repository="a/b", tag="c")
        except InvalidReference as e:
            raise UsageError(f"{self.registry!r} is not a registry: {e}", hint="it looks like ghcr.io") from None
        for url in self.urls:
            _check_url(url, self.registry)
        for text in self.repositories:
            Glob(text)
        if self.access is Access.OWN and not self.repositories:
            raise UsageError(
                f"{self.registry}: access is `own`, and no repository is listed",
                hint="list what everyone on this node may read under `repositories`, or choose `passthrough`",
            )
        if self.timeout <= 0:
            raise UsageError(f"{self.registry}: the timeout is not a time")

    @classmethod
    def parse(cls, text: str) -> UpstreamSettings:
        """`HOST` or `HOST=URL[,URL…]`, as on the command line."""
        registry, _, urls = text.partition("=")
        return cls(registry=registry, urls=tuple(filter(None, urls.split(","))))


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorSettings:
    """Times are seconds.

    Attributes:
        upstreams: the registries that are mirrored; no other host is ever contacted for a client.
        host_suffix: requests to `NAME.SUFFIX` are for the upstream NAME (a colon in NAME is written as `-`).
        default_registry: the upstream for names that begin with none, as Docker's `registry-mirrors` asks.
        tag_seconds: how long a tag is believed before the upstream is asked whether it still points there.
        missing_seconds: how long a 404 is believed.
        stale: whether tags, lists and public repositories are served while the upstream fails.
        access_seconds: how long the upstream's yes to a token, or to everybody, is believed.
        refused_seconds: how long its no is.
        grace_seconds: how much longer a yes is believed while the upstream fails; 0 refuses a token that cannot be
            checked.
        attachments: whether signatures and attestations of an image are fetched along with it, so that it can be
            verified while its upstream is gone.
        index_seconds: how long a layer waits for its image's model index before it is fetched without one.
        remembered: how many tags, answers to tokens, and 404s are kept in memory, each.
        asking: how many questions may be put to one upstream at once; others wait.
    """

    upstreams: tuple[UpstreamSettings, ...] = ()
    host_suffix: str = "shim.local"
    default_registry: str | None = None
    tag_seconds: float = 60.0
    missing_seconds: float = 10.0
    stale: bool = True
    access_seconds: float = 60.0
    refused_seconds: float = 5.0
    grace_seconds: float = 0.0
    attachments: bool = True
    index_seconds: float = 5.0
    remembered: int = 10_000
    asking: int = 32

    def __post_init__(self) -> None:
        names = [alias for u in self.upstreams for alias in {u.registry, u.registry.replace(":", "-")}]
        if len(set(names)) != len(names):
            raise UsageError("an upstream is listed twice", hint="several URLs of one are written HOST=URL1,URL2")
        if self.default_registry is not None and self.default_registry not in (u.registry for u in self.upstreams):
            raise UsageError(f"the default registry {self.default_registry!r} is not among the upstreams")
        if not _SUFFIX.fullmatch(self.host_suffix):
            raise UsageError(f"{self.host_suffix!r} cannot end a host name", hint="it looks like shim.local")
        for name in ("tag", "missing", "access", "refused", "grace", "index"):
            if getattr(self, f"{name}_seconds") < 0:
                raise UsageError(f"{name}_seconds is negative")
        if self.remembered < 1 or self.asking < 1:
            raise UsageError("`remembered` and `asking` are at least 1")


def _check_url(url: str, registry: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"{registry}: an upstream's URL begins with http:// or https://", hint="HOST=https://host:port"
        )
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{registry}: a URL is no place for a password: every list of processes shows it",
            hint="log in with `docker login`, or give the file as `docker_config`",
        )
    if parts.query or parts.fragment or parts.path not in ("", "/"):
        raise UsageError(f"{registry}: an upstream's URL has no path", hint="HOST=https://host:port")
