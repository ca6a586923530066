"""Namespaces, which are ready when pods can be made in them."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.kubernetes import Kubernetes
from tests.support.waiting import eventually

__all__ = ["make_namespace"]


def make_namespace(cluster: Kubernetes, name: str, labels: Mapping[str, str] | None = None) -> str:
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}})
    account = ("-n", name, "get", "serviceaccount", "default")
    eventually(lambda: "NotFound" not in cluster.kubectl(*account, check=False), "it has an account", within=30)
    return name
