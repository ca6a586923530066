"""The ModelCache controller: one replica, which is replaced and never doubled."""

from __future__ import annotations

from typing import Final

from modelcar.cluster.manifests import parts, programs
from modelcar.cluster.manifests.network import controller_policy
from modelcar.cluster.manifests.settings import Installation
from modelcar.cluster.resources import CUSTOM_RESOURCES, MODEL_CACHES, Object

__all__ = ["NAME", "controller"]

NAME: Final = "modelcar-controller"
_PORTS: Final = {"health": 8081}


def controller(chosen: Installation) -> list[Object]:
    group = MODEL_CACHES.group
    watch = ["get", "list", "watch"]
    rules = [
        parts.rule(group, ["modelcaches"], [*watch, "patch"]),
        parts.rule(group, ["modelcaches/status"], ["patch"]),
        parts.rule(group, ["modelnodes"], [*watch, "create", "patch", "delete"]),
        parts.rule(CUSTOM_RESOURCES.group, [CUSTOM_RESOURCES.plural], ["list", "watch"]),  # they may come later than it
        parts.rule("", ["nodes"], ["list", "watch"]),
        parts.rule("", ["pods"], ["list"]),
    ]
    probe = {"httpGet": {"path": "/healthz", "port": "health"}}
    one = programs.container(
        "controller",
        chosen.image,
        ["controller", "--listen", f"0.0.0.0:{_PORTS['health']}"],
        _PORTS,
        {"livenessProbe": {**probe, "initialDelaySeconds": 20, "periodSeconds": 20, "timeoutSeconds": 5}},
    )
    return [
        parts.account(NAME, chosen.namespace),
        parts.cluster_role(NAME, *rules),
        parts.cluster_binding(NAME, (chosen.namespace, NAME)),
        programs.deployment(NAME, chosen.namespace, 1, {"type": "Recreate"}, one, []),
        controller_policy(NAME, chosen, _PORTS),
    ]
