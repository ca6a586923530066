"""The webhook's certificates in a cluster: a Secret, and the `caBundle` of its configuration."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Mapping
from typing import Final

from modelcar.admission.server.keeping import Kept
from modelcar.cluster.api import Cluster
from modelcar.cluster.resources import MUTATING_WEBHOOKS, SECRETS, Object, version_of
from modelcar.errors import Conflict, ObjectNotFound

__all__ = ["ClusterVault"]

_ATTEMPTS: Final = 10
_log = logging.getLogger("modelcar.cluster")


class ClusterVault:
    """A `Vault`: the Secret `secret`, and the MutatingWebhookConfiguration `configuration`.

    Of the latter those webhooks are changed alone that call a service in `namespace`. It may come later than we do.
    """

    def __init__(self, cluster: Cluster, *, namespace: str, secret: str, configuration: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._secret = secret
        self._configuration = configuration

    def read(self) -> Kept:
        try:
            found = self._cluster.get(SECRETS, self._secret, self._namespace)
        except ObjectNotFound:
            return Kept({}, None)
        return Kept(_decoded(found.get("data")), version_of(found))

    def write(self, data: Mapping[str, bytes], version: str | None) -> None:
        meta = {"name": self._secret, "namespace": self._namespace}
        encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
        if version is None:
            self._cluster.create(SECRETS, {"metadata": meta, "type": "Opaque", "data": encoded})
            return
        changes = {"metadata": {"resourceVersion": version}, "data": encoded}
        self._cluster.patch(SECRETS, self._secret, changes, self._namespace)

    def publish(self, bundle: bytes) -> None:
        encoded = base64.b64encode(bundle).decode()
        for _ in range(_ATTEMPTS):
            try:
                found = self._cluster.get(MUTATING_WEBHOOKS, self._configuration)
            except ObjectNotFound:
                _log.warning("there is no MutatingWebhookConfiguration %s yet", self._configuration)
                return
            stale = [client for client in self._ours(found) if client.get("caBundle") != encoded]
            if not stale:
                return
            for client in stale:
                client["caBundle"] = encoded
            changes = {"metadata": {"resourceVersion": version_of(found)}, "webhooks": found["webhooks"]}
            try:
                self._cluster.patch(MUTATING_WEBHOOKS, self._configuration, changes)
            except Conflict:
                continue
            _log.info("the MutatingWebhookConfiguration %s has our authorities", self._configuration)
            return
        raise Conflict(f"the MutatingWebhookConfiguration {self._configuration} does not stand still")

    def _ours(self, configuration: Object) -> list[Object]:
        clients = [webhook.get("clientConfig") or {} for webhook in configuration.get("webhooks") or []]
        return [c for c in clients if (c.get("service") or {}).get("namespace") == self._namespace]


def _decoded(data: object) -> dict[str, bytes]:
    found = {}
    for name, value in data.items() if isinstance(data, dict) else ():
        try:
            found[str(name)] = base64.b64decode(str(value), validate=True)
        except (binascii.Error, ValueError):
            continue
    return found
