"""Pieces that several objects have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelcar.cluster.names import MANAGED_BY
from modelcar.cluster.resources import Object

__all__ = [
    "CONFINED",
    "RESTRICTED_POD",
    "account",
    "binding",
    "cluster_binding",
    "cluster_role",
    "config_map",
    "labels",
    "made",
    "namespace",
    "role",
    "rule",
]

RESTRICTED_POD: Mapping[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONFINED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "modelcar", **MANAGED_BY}


def made(api_version: str, kind: str, name: str, namespace: str | None = None, **rest: Any) -> Object:
    """An object; `more_metadata` goes where it says."""
    meta: dict[str, Any] = {"name": name} | ({"namespace": namespace} if namespace else {})
    meta |= {"labels": labels(name)} | rest.pop("more_metadata", {})
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **rest}


def namespace(name: str, security: str) -> Object:
    """`security` is the Pod Security Standard that its pods are held to."""
    levels = {f"pod-security.kubernetes.io/{mode}": security for mode in ("enforce", "warn")}
    return made("v1", "Namespace", name, more_metadata={"labels": {**labels(name), **levels}})


def account(name: str, namespace: str) -> Object:
    return made("v1", "ServiceAccount", name, namespace, automountServiceAccountToken=False)


def config_map(name: str, namespace: str, data: Mapping[str, str]) -> Object:
    return made("v1", "ConfigMap", name, namespace, data=dict(data))


def rule(group: str, resources: Sequence[str], verbs: Sequence[str], names: Sequence[str] = ()) -> Object:
    return {
        "apiGroups": [group],
        "resources": list(resources),
        **({"resourceNames": list(names)} if names else {}),
        "verbs": list(verbs),
    }


def role(name: str, namespace: str, *rules: Object) -> Object:
    return made("rbac.authorization.k8s.io/v1", "Role", name, namespace, rules=list(rules))


def cluster_role(name: str, *rules: Object) -> Object:
    return made("rbac.authorization.k8s.io/v1", "ClusterRole", name, rules=list(rules))


def binding(name: str, namespace: str, account: tuple[str, str] | None = None) -> Object:
    """Of the Role `name` to the account of that name in `namespace`, or to another one (namespace, name)."""
    return made(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        name,
        namespace,
        **_bound("Role", name, account or (namespace, name)),
    )


def cluster_binding(name: str, account: tuple[str, str]) -> Object:
    return made("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", name, **_bound("ClusterRole", name, account))


def _bound(kind: str, name: str, account: tuple[str, str]) -> Object:
    subject = {"kind": "ServiceAccount", "namespace": account[0], "name": account[1]}
    return {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}, "subjects": [subject]}
