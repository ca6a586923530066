"""Objects of a small cluster, and what holds them to our definitions."""

from __future__ import annotations

from typing import Any

import jsonschema

from modelcar.cluster.manifests.definitions import model_cache, model_node
from modelcar.cluster.resources import MODEL_CACHES, MODEL_NODES, Object, Resource
from modelcar.errors import InvalidObject

IMAGE = "ghcr.io/acme/llm:v1"
GB = 10**9
NOW = "2026-01-02T03:04:05Z"


def cache(name: str = "llm", image: str = IMAGE, *, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> Object:
    return {"metadata": {"name": name, "creationTimestamp": created}, "spec": {"image": image, **spec}}


def deleted(item: Object) -> Object:
    meta = {**item["metadata"], "deletionTimestamp": NOW, "finalizers": ["modelcar.dev/in-use"]}
    return {**item, "metadata": meta}


def node(name: str, *, limit: str | None = None, ready: bool = True, **labels: str) -> Object:
    annotations = {"modelcar.dev/cache-limit": limit} if limit else {}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", **labels}, "annotations": annotations},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def report(name: str, *models: Object, placed: tuple[Object, ...] = (), **status: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"models": list(placed)}, "status": {"models": list(models), **status}}


def copy(phase: str = "Ready", image: str = IMAGE, *, size: int = 10 * GB, **more: Any) -> Object:
    return {"image": image, "phase": phase, "size": size, **more}


def pod(name: str, on: str, image: str = IMAGE, **status: Any) -> Object:
    spec = {"nodeName": on, "containers": [{"name": "server", "image": "vllm:v1"}]}
    spec["initContainers"] = [{"name": "modelcar-model", "image": image}]
    return {"metadata": {"name": name, "namespace": "team"}, "spec": spec, "status": status}


def strict(schema: Any) -> Any:
    """As the API server would prune, but complaining instead."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        result["additionalProperties"] = False
    return result


VALIDATORS = {
    (resource, part): jsonschema.Draft202012Validator(
        strict(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part])
    )
    for resource, definition in ((MODEL_CACHES, model_cache()), (MODEL_NODES, model_node()))
    for part in ("spec", "status")
}


def check(resource: Resource, item: Object) -> None:
    """A `MemoryCluster.check` that is as strict as the definitions."""
    for part in ("spec", "status"):
        validator = VALIDATORS.get((resource, part))
        error = next(validator.iter_errors(item[part]), None) if validator and part in item else None
        if error is not None:
            raise InvalidObject(f"{resource.kind}.{part}{error.json_path[1:]}: {error.message}", status=422)
