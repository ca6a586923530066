"""Whose a request is: which repository of which upstream, or one of our own. Pure.

Three ways say which registry is meant, in this order: `?ns=ghcr.io` (containerd), the host `ghcr.io.shim.local`, and
the path `/v2/ghcr.io/org/model/…` (engines that can do neither). Only configured upstreams can be named: this is no
open proxy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from modelcar.oci.reference import DEFAULT_REGISTRY, is_repository
from modelcar.serving.messages import Request
from registry_shim.distribution.errors import DistributionError
from registry_shim.mirror.settings import MirrorSettings

__all__ = ["Kind", "Route", "Routes"]


class Kind(Enum):
    """What is asked for."""

    BASE = "base"
    MANIFEST = "manifest"
    BLOB = "blob"
    TAGS = "tags"
    REFERRERS = "referrers"


# In this order: the last endpoint word in a path decides, because `blobs` and `tags` are names of repositories too.
_ENDPOINTS: Final = (
    (re.compile(r"/v2/?()()"), Kind.BASE),
    (re.compile(r"/v2/(.+)/tags/list()"), Kind.TAGS),
    (re.compile(r"/v2/(.+)/blobs/([^/]+)"), Kind.BLOB),
    (re.compile(r"/v2/(.+)/manifests/([^/]+)"), Kind.MANIFEST),
    (re.compile(r"/v2/(.+)/referrers/([^/]+)"), Kind.REFERRERS),
)
_NAME: Final = re.compile(r"/v2/([^/]+)/.*")
_MAX_PATH: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`rest` is what stands behind the endpoint's word: a tag, a digest. `named`: the registry was named by `?ns=`."""

    kind: Kind
    registry: str
    repository: str = ""
    rest: str = ""
    named: bool = False


class Routes:
    """The upstreams by the names under which requests may mean them."""

    def __init__(self, settings: MirrorSettings) -> None:
        names = [upstream.registry for upstream in settings.upstreams]
        self._names = {alias.lower(): name for name in names for alias in (name, name.replace(":", "-"))}
        self._suffix = f".{settings.host_suffix}"
        self._default = settings.default_registry

    def find(self, request: Request) -> Route | None:
        """`None`: it is for the node's own repositories.

        Raises:
            DistributionError: it names a registry that is no upstream, or no repository, or wants to change something.
        """
        namespace = self._namespace(request)
        registry = namespace or self._host(request)
        kind, name, rest = _endpoint(request.path)
        if registry is None:
            first = _NAME.fullmatch(request.path)
            registry = self._names.get(first[1].lower()) if first else None
            if registry is not None:
                name = name.partition("/")[2]
            elif first is None or self._default is None:
                return None
            else:
                registry = self._default
        if request.method not in ("GET", "HEAD"):
            message = f"{registry} is mirrored here, and a mirror takes no pushes and deletes nothing"
            raise DistributionError("UNSUPPORTED", message, headers={"Allow": "GET, HEAD"})
        if kind is None:
            raise DistributionError("UNSUPPORTED", "no such endpoint of a mirror", status=404)
        if kind is Kind.BASE:
            return Route(kind=kind, registry=registry, named=namespace is not None)
        if registry == DEFAULT_REGISTRY and name and "/" not in name:
            name = f"library/{name}"
        if not is_repository(name) or len(registry) + 1 + len(name) > 255:
            raise DistributionError("NAME_INVALID", "that is not a repository name")
        return Route(kind=kind, registry=registry, repository=name, rest=rest, named=namespace is not None)

    def _namespace(self, request: Request) -> str | None:
        values = request.query.get("ns")
        if not values or not self._names:  # a registry and no mirror ignores it, as all do: proxies pass it on
            return None
        registry = self._names.get(values[0].lower())
        if registry is None or len(values) > 1:
            raise _unknown(values[0] if len(values) == 1 else "several registries at once")
        return registry

    def _host(self, request: Request) -> str | None:
        host = request.headers.get("host", "").lower()
        host = re.sub(r":\d{1,5}$", "", host, flags=re.ASCII)
        if not host.endswith(self._suffix):
            return None
        registry = self._names.get(host.removesuffix(self._suffix))
        if registry is None:
            raise _unknown(host.removesuffix(self._suffix))
        return registry


def _endpoint(path: str) -> tuple[Kind | None, str, str]:
    if len(path) <= _MAX_PATH:
        for pattern, kind in _ENDPOINTS:
            if match := pattern.fullmatch(path):
                return kind, match[1], match[2]
    return None, "", ""


def _unknown(name: str) -> DistributionError:
    shown = re.sub(r"[^A-Za-z0-9.:\[\] _-]", "?", name[:100])
    return DistributionError(
        "DENIED", f"{shown} is not an upstream of this node; its configuration lists those there are"
    )
