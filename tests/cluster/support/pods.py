"""Pods that ask for a model, and what is said of those that were made."""

from __future__ import annotations

import json
from typing import Any

from tests.cluster.support.images import Model
from tests.support.kubernetes import Kubernetes
from tests.support.waiting import eventually

__all__ = ["asking", "is_rewritten", "made_pods", "pod", "template", "would_be_rewritten"]

_USER = {"runAsUser": 1000, "runAsGroup": 1000}


def asking(model: Model, **more: str) -> dict[str, str]:
    """Annotations, with `more` of ours."""
    return {"modelcar.dev/model": f"oci://{model.ref}", **{f"modelcar.dev/{k}": v for k, v in more.items()}}


def template(annotations: dict[str, str], *, image: str = "registry.invalid/server:v1", **spec: Any) -> dict[str, Any]:
    """What a workload has as its pod template. The server says who runs it, unless `spec` has another opinion."""
    containers = [{"name": "server", "image": image}]
    spec = {"securityContext": _USER, "containers": containers, **spec}
    return {"metadata": {"labels": {"app": "server"}, "annotations": annotations}, "spec": spec}


def pod(name: str, annotations: dict[str, str], **more: Any) -> dict[str, Any]:
    made = template(annotations, **more)
    return {"apiVersion": "v1", "kind": "Pod", **made, "metadata": {**made["metadata"], "name": name}}


def made_pods(cluster: Kubernetes, namespace: str, count: int = 1) -> list[dict[str, Any]]:
    """All pods of the namespace, as soon as there are so many."""
    listed = ("-n", namespace, "get", "pods", "-o", "json")

    def items() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(cluster.kubectl(*listed))["items"]
        return found

    eventually(lambda: len(items()) >= count, f"{count} pods are made", within=60)
    return items()


def is_rewritten(made: dict[str, Any], model: Model, *, called: str = "model") -> bool:
    """Whether it has the model as its first init container, pinned and once, and the server sees it."""
    spec, name = made["spec"], f"modelcar-{called}"
    ours = [c["image"] for c in spec.get("initContainers", []) if c["name"] == name]
    seen = any(m["name"] == name for c in spec["containers"] for m in c.get("volumeMounts", []))
    shared = spec.get("shareProcessNamespace", False)
    first = [c["name"] for c in spec.get("initContainers", [])][:1] == [name]
    assert (seen, shared, first) == ((bool(ours),) * 3), spec  # half of it would be worse than none
    assert ours in ([], [model.pinned])
    return bool(ours)


def would_be_rewritten(cluster: Kubernetes, namespace: str, model: Model) -> bool:
    """Of a pod that asks for it and that nothing keeps. A pod that is not let in fails the test."""
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    status, made, _ = cluster.request("POST", path, pod("probe", asking(model)))
    assert status == 201, made
    return is_rewritten(made, model)
