"""Whether a pod uses an image: as a model, as a container, or as a volume. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from modelcar.admission.names import DIGESTS
from modelcar.cluster.names import spec_of, status_of
from modelcar.cluster.resources import Object, name_of, namespace_of
from modelcar.errors import InvalidReference
from modelcar.oci import Reference

__all__ = ["images_of", "is_over", "same_image", "users"]

_SCHEMES = ("oci://", "oci+modelcar://", "oci+native://", "oci+fetch://")


def images_of(pod: Object) -> Iterator[str]:
    """Every image that a pod names, as it is written there, and each that was resolved for it at its digest."""
    spec = spec_of(pod)
    for part in ("initContainers", "containers", "ephemeralContainers"):
        yield from _texts(spec.get(part), "image")
    for volume in _objects(spec.get("volumes")):
        yield from _texts([volume.get("image")], "reference")
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    try:
        digests = json.loads(str(annotations.get(DIGESTS) or "{}"))
    except (ValueError, RecursionError):
        digests = {}
    for asked, digest in digests.items() if isinstance(digests, dict) else ():
        yield str(asked)
        yield f"{str(asked).partition('@')[0]}@{digest}"


def users(pods: Iterable[Object], image: str, digest: str | None, nodes: Iterable[str]) -> list[str]:
    """The pods (`namespace/name on node`) on `nodes` that use `image`, or what it was at `digest`; sorted."""
    wanted = set(nodes)
    return sorted(
        f"{namespace_of(pod)}/{name_of(pod)} on {spec_of(pod)['nodeName']}"
        for pod in pods
        if spec_of(pod).get("nodeName") in wanted
        and not is_over(pod)
        and any(same_image(used, image, digest) for used in images_of(pod))
    )


def is_over(pod: Object) -> bool:
    """Whether none of its containers runs again."""
    return status_of(pod).get("phase") in ("Succeeded", "Failed")


def same_image(used: str, image: str, digest: str | None) -> bool:
    """Whether two references mean one image: the same tag, or the same digest of one repository."""
    try:
        one, other = _parsed(used), _parsed(image)
    except InvalidReference:
        return used == image
    if (one.registry, one.repository) != (other.registry, other.repository):
        return False
    known = {str(d) for d in (other.digest, digest) if d}
    if one.digest is not None and known:
        return str(one.digest) in known
    return one.tag == other.tag


def _parsed(text: str) -> Reference:
    scheme = next((s for s in _SCHEMES if text.startswith(s)), "")
    return Reference.parse(text.removeprefix(scheme))


def _texts(items: Any, field: str) -> Iterator[str]:
    for item in _objects(items):
        if isinstance(item.get(field), str):
            yield item[field]


def _objects(items: Any) -> Iterator[dict[str, Any]]:
    yield from (item for item in (items if isinstance(items, list) else []) if isinstance(item, dict))
