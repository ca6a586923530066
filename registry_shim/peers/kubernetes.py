"""Members from Kubernetes: the ready endpoints of a service, watched."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final

from modelcar.cluster.access import in_cluster
from modelcar.cluster.api import ApiServer
from modelcar.cluster.resources import ENDPOINT_SLICES
from modelcar.cluster.watching import Followed
from registry_shim.peers.discovery import Tell
from registry_shim.peers.members import Member
from registry_shim.peers.settings import KubernetesSettings

__all__ = ["KubernetesMembers", "members_of"]

_RETRY: Final = 2.0  # seconds


class KubernetesMembers:
    """A `Discovery`. It needs a service account that may list and watch EndpointSlices.

    While the API server does not answer, the members are those that it told last.
    """

    def __init__(self, settings: KubernetesSettings) -> None:
        """Raises `UsageError` without a service account, and outside of a cluster if `settings` say not where it is."""
        access = in_cluster(settings.account, settings.api)
        self._port = settings.port
        self._server = ApiServer(access)
        self._stopped = threading.Event()
        self._changed = threading.Event()
        self._slices = Followed(
            self._server,
            ENDPOINT_SLICES,
            changed=self._changed,
            namespace=settings.namespace or access.namespace,
            labels=f"kubernetes.io/service-name={settings.service}",
            pause=_RETRY,
        )

    def run(self, tell: Tell) -> None:
        self._slices.start()
        try:
            while self._changed.wait() and not self._stopped.is_set():
                self._changed.clear()
                tell(members_of(self._slices.objects() or [], self._port))
        finally:
            self._slices.close()
            self._server.close()

    def stop(self) -> None:
        self._stopped.set()
        self._changed.set()


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
