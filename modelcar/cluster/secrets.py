"""Pull secrets of pods, as the API server has them: read when they are needed, and kept nowhere."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

from modelcar.admission.resolve.logins import PullSecret
from modelcar.cluster.api import Cluster
from modelcar.cluster.resources import SECRETS, SERVICE_ACCOUNTS, Object
from modelcar.errors import ObjectNotFound

__all__ = ["ClusterSecrets", "read_secret"]

_TYPES: Final = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")
_MOST: Final = 50  # secrets of one pod


class ClusterSecrets:
    """A `PullSecrets`. It needs `get` for secrets and service accounts, and nothing else."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def for_pod(self, namespace: str, names: Sequence[str], service_account: str) -> tuple[PullSecret, ...]:
        """The secrets in the pod's order. Those of its service account count where it names none, as the API server
        has it. What does not exist, or holds no logins, is left out, as the kubelet does.

        Raises:
            ClusterError: the API server does not answer, or refuses.
        """
        wanted = list(names) or self._of_account(namespace, service_account or "default")
        found = []
        for name in list(dict.fromkeys(wanted))[:_MOST]:
            secret = read_secret(self._cluster, namespace, name)
            if secret is not None:
                found.append(secret)
        return tuple(found)

    def _of_account(self, namespace: str, name: str) -> list[str]:
        try:
            account = self._cluster.get(SERVICE_ACCOUNTS, name, namespace)
        except ObjectNotFound:
            return []
        entries = account.get("imagePullSecrets") or []
        return [str(entry["name"]) for entry in entries if isinstance(entry, dict) and entry.get("name")]


def read_secret(cluster: Cluster, namespace: str, name: str) -> PullSecret | None:
    """`None` where there is none, or it is of a type that holds no logins. Raises `ClusterError`."""
    try:
        secret = cluster.get(SECRETS, name, namespace)
    except ObjectNotFound:
        return None
    kind = str(secret.get("type") or "")
    return PullSecret(name=name, type=kind, data=_decoded(secret)) if kind in _TYPES else None


def _decoded(secret: Object) -> dict[str, bytes]:
    data: dict[str, Any] = secret.get("data") or {}
    decoded = {}
    for key, value in data.items():
        try:
            decoded[key] = base64.b64decode(str(value), validate=True)
        except (binascii.Error, ValueError):
            continue  # the API server lets none of these in
    return decoded
