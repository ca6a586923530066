"""All parts together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from modelcar.cluster.manifests import parts
from modelcar.cluster.manifests.controller import controller
from modelcar.cluster.manifests.definitions import model_cache, model_node
from modelcar.cluster.manifests.network import default_policy
from modelcar.cluster.manifests.programs import priority_class
from modelcar.cluster.manifests.settings import Installation
from modelcar.cluster.manifests.shim import shim, unwire
from modelcar.cluster.manifests.webhook import NAME, webhook
from modelcar.cluster.resources import Object

__all__ = ["PARTS", "bundle"]


def _definitions(_chosen: Installation) -> list[Object]:
    return [model_cache(), model_node()]


def _system(chosen: Installation) -> list[Object]:
    return [parts.namespace(chosen.namespace, "restricted"), priority_class(), default_policy(chosen.namespace)]


def _monitoring(chosen: Installation) -> list[Object]:
    selector = {"matchLabels": {"app.kubernetes.io/name": NAME}}
    spec = {"selector": selector, "endpoints": [{"port": "operations", "path": "/metrics", "interval": "30s"}]}
    return [parts.made("monitoring.coreos.com/v1", "ServiceMonitor", NAME, chosen.namespace, spec=spec)]


PARTS: Final[Mapping[str, Callable[[Installation], list[Object]]]] = {
    "definitions": _definitions,
    "system": _system,
    "controller": controller,
    "shim": shim,
    "webhook": webhook,
    "monitoring": _monitoring,
    "unwire": unwire,
}
"""By name, in the order in which they are applied."""


def bundle(chosen: Installation, only: tuple[str, ...] = ()) -> list[Object]:
    """All that is installed, or `only` these parts. `monitoring` is there if it is chosen, `unwire` if it is named."""
    absent = {"unwire"} | (set() if chosen.monitoring else {"monitoring"})
    names = [name for name in PARTS if (name in only if only else name not in absent)]
    return [each for name in names for each in PARTS[name](chosen)]
