"""Kinds of objects, by where an API server keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from modelcar.errors import UsageError

__all__ = [
    "CUSTOM_RESOURCES",
    "ENDPOINT_SLICES",
    "EVENTS",
    "MODEL_CACHES",
    "MODEL_NODES",
    "MUTATING_WEBHOOKS",
    "NODES",
    "PODS",
    "SECRETS",
    "SERVICE_ACCOUNTS",
    "Object",
    "Resource",
    "name_of",
    "namespace_of",
    "version_of",
]

Object = dict[str, Any]
"""An object as JSON has it. What comes from an API server is the caller's to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of object. `group` is empty for the core group."""

    group: str = ""
    version: str = "v1"
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Where it is on the server; without `namespace` all of them, without `name` the list.

        Raises:
            UsageError: a namespace for what has none, or a name without the namespace that it needs.
        """
        if namespace is not None and not self.namespaced:
            raise UsageError(f"{self.plural} belong to no namespace")
        if namespace is None and self.namespaced and name is not None:
            raise UsageError(f"{self.plural} belong to a namespace, and none is given for {name}")
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part is not None]
        return "/".join(parts)


PODS: Final = Resource(plural="pods", kind="Pod")
NODES: Final = Resource(plural="nodes", kind="Node", namespaced=False)
SECRETS: Final = Resource(plural="secrets", kind="Secret")
SERVICE_ACCOUNTS: Final = Resource(plural="serviceaccounts", kind="ServiceAccount")
EVENTS: Final = Resource(plural="events", kind="Event")
ENDPOINT_SLICES: Final = Resource(group="discovery.k8s.io", plural="endpointslices", kind="EndpointSlice")
MUTATING_WEBHOOKS: Final = Resource(
    group="admissionregistration.k8s.io",
    plural="mutatingwebhookconfigurations",
    kind="MutatingWebhookConfiguration",
    namespaced=False,
)
CUSTOM_RESOURCES: Final = Resource(
    group="apiextensions.k8s.io", plural="customresourcedefinitions", kind="CustomResourceDefinition", namespaced=False
)
MODEL_CACHES: Final = Resource(
    group="modelcar.dev", version="v1alpha1", plural="modelcaches", kind="ModelCache", namespaced=False
)
MODEL_NODES: Final = Resource(
    group="modelcar.dev", version="v1alpha1", plural="modelnodes", kind="ModelNode", namespaced=False
)


def name_of(item: Object) -> str:
    return str((item.get("metadata") or {}).get("name") or "")


def namespace_of(item: Object) -> str | None:
    found = (item.get("metadata") or {}).get("namespace")
    return str(found) if found else None


def version_of(item: Object) -> str:
    """Its `resourceVersion`, which `replace` compares."""
    return str((item.get("metadata") or {}).get("resourceVersion") or "")
