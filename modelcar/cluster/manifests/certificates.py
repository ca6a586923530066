"""What cert-manager is asked for: the webhook's certificate, and one that all shims share among themselves."""

from __future__ import annotations

from typing import Any, Final

from modelcar.cluster.manifests import parts
from modelcar.cluster.manifests.settings import Installation
from modelcar.cluster.resources import Object

__all__ = ["peer_certificate", "webhook_certificate"]

_API: Final = "cert-manager.io/v1"
_KEY: Final = {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}
_LIFETIME: Final = {"duration": "2160h", "renewBefore": "720h"}


def webhook_certificate(name: str, secret: str, chosen: Installation) -> list[Object]:
    """Signed by itself: cert-manager puts it into the webhook's configuration, too."""
    host = f"{name}.{chosen.namespace}.svc"
    names = [host, f"{host}.cluster.local"]
    return [
        _issuer(name, chosen.namespace, {"selfSigned": {}}),
        _certificate(name, chosen.namespace, secret, name, dnsNames=names, usages=["server auth"]),
    ]


def peer_certificate(name: str, chosen: Installation) -> list[Object]:
    """From an authority that issues nothing else, as `docs/how-to/peers.md` asks for."""
    where, identity = chosen.shim_namespace, "registry-shim.peers"
    authority, root = f"{name}-authority", f"{name}-root"
    both = ["server auth", "client auth"]
    return [
        _issuer(root, where, {"selfSigned": {}}),
        _certificate(authority, where, authority, root, commonName=identity, isCA=True, usages=["cert sign"]),
        _issuer(name, where, {"ca": {"secretName": authority}}),
        _certificate(name, where, name, name, dnsNames=[identity], usages=both),
    ]


def _issuer(name: str, namespace: str, kind: Object) -> Object:
    return parts.made(_API, "Issuer", name, namespace, spec=kind)


def _certificate(name: str, namespace: str, secret: str, issuer: str, **more: Any) -> Object:
    reference = {"kind": "Issuer", "name": issuer}
    spec = {"secretName": secret, **more, **_LIFETIME, "privateKey": dict(_KEY), "issuerRef": reference}
    return parts.made(_API, "Certificate", name, namespace, spec=spec)
