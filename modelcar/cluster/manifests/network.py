"""NetworkPolicies of the webhook and the controller. The shim is on its node's network, where none applies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modelcar.cluster.manifests import parts
from modelcar.cluster.manifests.settings import Installation
from modelcar.cluster.resources import Object

__all__ = ["controller_policy", "default_policy", "webhook_policy"]

_API_SERVER = (443, 6443, 8443, 16443)  # what is behind its service, as policies see it


def default_policy(namespace: str) -> Object:
    """Nothing comes in and nothing goes out, unless another policy says so."""
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    return parts.made("networking.k8s.io/v1", "NetworkPolicy", "default-deny", namespace, spec=spec)


def webhook_policy(name: str, chosen: Installation, ports: Mapping[str, int]) -> Object:
    """API servers ask from addresses that nobody can name. It asks them, and registries."""
    return _policy(name, chosen, ports.values(), (*_API_SERVER, *_registry_ports(chosen)))


def controller_policy(name: str, chosen: Installation, ports: Mapping[str, int]) -> Object:
    return _policy(name, chosen, ports.values(), _API_SERVER)


def _policy(name: str, chosen: Installation, inwards: Iterable[int], outwards: Iterable[int]) -> Object:
    dns = {"ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]}
    spec = {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": name}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": port, "protocol": "TCP"} for port in inwards]}],
        "egress": [dns, {"ports": [{"port": port, "protocol": "TCP"} for port in dict.fromkeys(outwards)]}],
    }
    return parts.made("networking.k8s.io/v1", "NetworkPolicy", name, chosen.namespace, spec=spec)


def _registry_ports(chosen: Installation) -> list[int]:
    ports = [registry.rpartition(":")[2] for registry in chosen.registries if ":" in registry]
    return sorted({int(port) for port in ports if port.isdigit()})
