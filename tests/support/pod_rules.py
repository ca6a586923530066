"""Whether an API server would take it: Kubernetes' schemas of many versions, and for pods rules that no schema has."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import kubernetes_validate
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from modelcar.admission.admit import Pod

__all__ = ["VERSIONS", "validate_object", "validate_pod"]

VERSIONS: Final = ("1.27", "1.29", "1.31", "1.33", "1.35", kubernetes_validate.latest_version().removesuffix(".0"))
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_UNKNOWN: Final = re.compile(r"(?i)future")  # fields that golden pods have to show that they survive
_NATIVE: Final = (1, 29)
_IMAGE_VOLUMES: Final = (1, 31)
_MAX_ANNOTATIONS: Final = 256 << 10


def validate_pod(pod: Pod, *, native_sidecars: bool = True, versions: tuple[str, ...] = VERSIONS) -> None:
    """Nothing, if it is valid; `AssertionError` or the schema's own error else."""
    known = _without_future({"apiVersion": "v1", "kind": "Pod", **pod})
    for version in versions:
        if _fits(known, version, native_sidecars=native_sidecars):
            validate_object(known, version)
    _check_rules(known)


def validate_object(document: Mapping[str, Any], version: str) -> None:
    """With unknown fields refused. `kubernetes_validate.validate` reads megabytes of schemas at every call."""
    group, _, its_version = document["apiVersion"].rpartition("/")
    name = f"{document['kind'].lower()}-{group.partition('.')[0]}{'-' if group else ''}{its_version}"
    _validator(name, version).validate(document)


@cache
def _validator(name: str, version: str) -> Draft202012Validator:
    schema = _schema(name, version)
    registry: Registry[Any] = Registry()
    resources = [Resource.from_contents(each) for each in (schema, _schema("_definitions", version))]
    return Draft202012Validator(schema, registry=resources @ registry)


@cache
def _schema(name: str, version: str) -> Any:
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    return json.loads((folder / f"{name}.json").read_text())


def _fits(pod: Pod, version: str, *, native_sidecars: bool) -> bool:
    number = tuple(map(int, version.split(".")[:2]))
    images = any("image" in volume for volume in pod["spec"].get("volumes") or ())
    profiles = "appArmorProfile" in repr(pod)
    least = max(_NATIVE if native_sidecars else (1, 0), _IMAGE_VOLUMES if images or profiles else (1, 0))
    return number >= least


def _without_future(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_future(each) for key, each in value.items() if not _UNKNOWN.match(key)}
    return [_without_future(each) for each in value] if isinstance(value, list) else value


def _check_rules(pod: Pod) -> None:
    """What `ValidatePodSpec` asks of what we touch."""
    spec = pod["spec"]
    inits, mains = spec.get("initContainers") or [], spec["containers"]
    names = [each["name"] for each in (*inits, *mains)]
    assert len(names) == len(set(names)), f"names are there twice: {names}"
    volumes = [each["name"] for each in spec.get("volumes") or ()]
    assert len(volumes) == len(set(volumes)), f"volumes are there twice: {volumes}"
    for name in (*names, *volumes):
        assert len(name) <= 63, name
        assert _LABEL.fullmatch(name), name
    for container in (*inits, *mains):
        _check_container(container, volumes, is_init=container in inits)
    for volume in spec.get("volumes") or ():
        assert len(volume.keys() - {"name"}) <= 1, f"{volume} is of several kinds"
    assert not (spec.get("hostPID") and spec.get("shareProcessNamespace"))
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    assert sum(len(key) + len(value.encode()) for key, value in annotations.items()) <= _MAX_ANNOTATIONS


def _check_container(container: dict[str, Any], volumes: list[str], *, is_init: bool) -> None:
    mounts = container.get("volumeMounts") or []
    paths = [mount["mountPath"] for mount in mounts]
    assert len(paths) == len(set(paths)), f"{container['name']}: a path is mounted twice: {paths}"
    for mount in mounts:
        assert mount["name"] in volumes, f"{container['name']}: no volume {mount['name']}"
        assert ":" not in mount["mountPath"]
        assert not mount.get("subPath", "").startswith("/")
        assert ".." not in mount.get("subPath", "").split("/")
    stays = container.get("restartPolicy") == "Always"
    if is_init and not stays:
        for field in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            assert field not in container, f"{container['name']} may not have {field}"
    if not is_init:
        assert "restartPolicy" not in container
    probe = container.get("startupProbe")
    assert probe is None or probe.get("successThreshold", 1) == 1
    context = container.get("securityContext") or {}
    assert not (context.get("privileged") and context.get("allowPrivilegeEscalation") is False)
