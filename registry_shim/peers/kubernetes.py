"""Members from Kubernetes: the ready endpoints of a service, watched."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from modelcar.errors import ModelcarError, UsageError, WorldError
from modelcar.registry.cancel import Cancelled, CancelScope
from modelcar.registry.settings import ClientSettings
from modelcar.registry.transport import Answer, Broken, Transport
from registry_shim.peers.discovery import Tell
from registry_shim.peers.members import Member
from registry_shim.peers.settings import KubernetesSettings

__all__ = ["KubernetesMembers", "members_of"]

_LIMIT: Final = 64 << 20  # bytes of one list or event
_WATCH_SECONDS: Final = 240
_RETRY: Final = 2.0  # seconds
_log = logging.getLogger("registry_shim.peers")

Slices = dict[str, Mapping[str, Any]]


class KubernetesMembers:
    """A `Discovery`. It needs a service account that may list and watch EndpointSlices.

    While the API server does not answer, the members are those that it told last.
    """

    def __init__(self, settings: KubernetesSettings) -> None:
        """Raises `UsageError` outside of a cluster, unless the settings say where it is."""
        self._settings = settings
        self._account = settings.account
        self._base = f"{settings.api or _in_cluster()}{self._path()}"
        ca_file = self._account / "ca.crt"
        self._transport = Transport(
            ClientSettings(ca_file=ca_file if ca_file.exists() else None, timeout=_WATCH_SECONDS + 30, direct=True)
        )
        self._scope = CancelScope()
        self._stopped = threading.Event()

    def run(self, tell: Tell) -> None:
        with suppress(Cancelled), self._scope.active():
            while not self._stopped.is_set():
                try:
                    slices, version = self._list()
                    tell(members_of(slices.values(), self._settings.port))
                    for _ in self._changes(slices, version):
                        tell(members_of(slices.values(), self._settings.port))
                except (Broken, ModelcarError) as e:
                    if not self._stopped.is_set():
                        _log.warning("peers: the Kubernetes API does not tell who they are: %s", e)
                        self._stopped.wait(_RETRY)

    def stop(self) -> None:
        self._stopped.set()
        self._scope.cancel()
        self._transport.close()

    def _list(self) -> tuple[Slices, str]:
        document = _parsed(self._ask({}).content(_LIMIT, "endpoint slices"))
        items = document.get("items") or []
        return {_name(item): item for item in items}, str(document.get("metadata", {}).get("resourceVersion", ""))

    def _changes(self, slices: Slices, version: str) -> Iterator[None]:
        """Keep `slices` up to date; yields after each change, until the server has had enough."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(_WATCH_SECONDS)}
        answer = self._ask({**query, "allowWatchBookmarks": "true"})
        try:
            for line in _lines(answer):
                event = _parsed(line)
                kind, item = event.get("type"), event.get("object") or {}
                if kind == "ERROR":
                    return  # most likely the version is too old: list again
                if kind == "DELETED":
                    slices.pop(_name(item), None)
                elif kind in ("ADDED", "MODIFIED"):
                    slices[_name(item)] = item
                if kind != "BOOKMARK":
                    yield
        finally:
            answer.close()

    def _ask(self, query: Mapping[str, str]) -> Answer:
        selector = {"labelSelector": f"kubernetes.io/service-name={self._settings.service}"}
        headers = {"Accept": "application/json"}
        token = _text(self._account / "token")  # read anew: it is renewed every hour or so
        if token:
            headers["Authorization"] = f"Bearer {token}"
        answer = self._transport.request("GET", f"{self._base}?{urlencode({**selector, **query})}", headers)
        if answer.status != 200:
            answer.discard()
            hint = "its service account must be allowed to list and watch endpointslices.discovery.k8s.io"
            raise WorldError(f"it answers {answer.status}", hint=hint if answer.status in (401, 403) else None)
        return answer

    def _path(self) -> str:
        namespace = self._settings.namespace or _text(self._account / "namespace") or "default"
        return f"/apis/discovery.k8s.io/v1/namespaces/{quote(namespace)}/endpointslices"


def members_of(slices: Iterable[Mapping[str, Any]], port: str) -> list[Member]:
    """The endpoints that are ready, by their addresses and zones. What is not as it should be is left out."""
    found = set()
    for item in slices:
        numbers = [p.get("port") for p in item.get("ports") or [] if p.get("name") == port]
        for endpoint in item.get("endpoints") or []:
            ready = (endpoint.get("conditions") or {}).get("ready")
            if ready is False or not numbers or not isinstance(numbers[0], int):
                continue
            zone = endpoint.get("zone") or ""
            found |= {Member(str(address), numbers[0], zone) for address in endpoint.get("addresses") or []}
    return sorted(found)


def _lines(answer: Answer) -> Iterator[bytes]:
    rest = b""
    while data := answer.read_some(64 << 10):
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > _LIMIT:
            raise WorldError("an event of it has no end")
        yield from (line for line in lines if line.strip())


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise WorldError("it answers something that is no object")
    return document


def _name(item: Mapping[str, Any]) -> str:
    return str((item.get("metadata") or {}).get("name", ""))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _in_cluster() -> str:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise UsageError(
            "peers from Kubernetes are asked for, and this is no pod", hint="`api` says where the API server is"
        )
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
