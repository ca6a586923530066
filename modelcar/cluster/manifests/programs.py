"""Deployments of the webhook and the controller: what the restricted Pod Security Standard takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from modelcar.cluster.manifests.parts import CONFINED, RESTRICTED_POD, labels, made
from modelcar.cluster.resources import Object

__all__ = ["PRIORITY", "container", "deployment", "priority_class"]

PRIORITY: Final = "modelcar"


def priority_class() -> Object:
    return made(
        "scheduling.k8s.io/v1",
        "PriorityClass",
        PRIORITY,
        value=1_000_000,
        description="The webhook and the controller of modelcar: pods that ask for a model wait for them.",
    )


def container(name: str, image: str, args: Sequence[str], ports: dict[str, int], probes: Object, **more: Any) -> Object:
    """A program of `modelcar`, with a writable /tmp and nothing else."""
    mounts = [*more.pop("mounts", []), {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108  # its own
    return {
        "name": name,
        "image": image,
        "command": ["modelcar"],
        "args": list(args),
        "ports": [{"name": port, "containerPort": number} for port, number in ports.items()],
        "securityContext": dict(CONFINED),
        **probes,
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi"},
            "limits": {"memory": "512Mi"},
        },
        **more,
        "volumeMounts": mounts,
    }


def deployment(
    name: str, namespace: str, replicas: int, strategy: Object, one: Object, volumes: Sequence[Object]
) -> Object:
    selector = {"matchLabels": {"app.kubernetes.io/name": name}}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": selector,
    }
    pod = {
        "serviceAccountName": name,
        "automountServiceAccountToken": True,
        "priorityClassName": PRIORITY,
        "terminationGracePeriodSeconds": 30,
        "securityContext": dict(RESTRICTED_POD),
        "nodeSelector": {"kubernetes.io/os": "linux"},
        **({"topologySpreadConstraints": [spread]} if replicas > 1 else {}),
        "containers": [one],
        "volumes": [*volumes, {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}],
    }
    return made(
        "apps/v1",
        "Deployment",
        name,
        namespace,
        spec={
            "replicas": replicas,
            "revisionHistoryLimit": 3,
            "strategy": strategy,
            "selector": selector,
            "template": {"metadata": {"labels": labels(name)}, "spec": pod},
        },
    )
