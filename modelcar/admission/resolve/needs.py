"""What has to be found out of which image of a pod."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelcar.admission.asked import Asked
from modelcar.admission.settings import Mode

__all__ = ["Need", "needs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What of an image matters, besides its digest and what policies say.

    Attributes:
        user: who runs it: a container that sees a model runs it, and the pod does not say both user and group.
        publisher: it is a model.
    """

    user: bool = False
    publisher: bool = False


def needs(pod: Mapping[str, Any], asked: Asked) -> dict[str, Need]:
    """By image, for each of `asked.images`."""
    viewers = {name for model in asked.models if model.mode is not Mode.IMAGE_VOLUME for name in model.containers}
    users = {image for name, image, is_told in _containers(pod) if name in viewers and not is_told}
    models = {model.image for model in asked.models}
    return {image: Need(user=image in users, publisher=image in models) for image in asked.images}


def _containers(pod: Mapping[str, Any]) -> Iterator[tuple[object, object, bool]]:
    """Name, image, and whether the pod says both who runs it and in which group."""
    spec = _mapping(pod.get("spec"))
    of_pod = _mapping(spec.get("securityContext"))
    for section in ("initContainers", "containers"):
        containers = spec.get(section)
        for container in containers if isinstance(containers, list) else ():
            if isinstance(container, dict) and isinstance(container.get("image"), str):
                own = _mapping(container.get("securityContext"))
                told = (own.get(key, of_pod.get(key)) for key in ("runAsUser", "runAsGroup"))
                yield container.get("name"), container["image"], all(isinstance(value, int) for value in told)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
