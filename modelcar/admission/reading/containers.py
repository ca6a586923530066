"""Which containers see a model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from modelcar.admission.names import CONTAINER, OURS
from modelcar.admission.shape import shown
from modelcar.errors import Denied

__all__ = ["all_containers", "kserve_containers", "server_containers"]

_SERVERS: Final = ("kserve-container", "worker-container")
_TRANSFORMER: Final = "transformer-container"

Container = dict[str, Any]


def all_containers(spec: dict[str, Any], *, done: bool) -> list[Container]:
    """Init containers, then containers: those of the pod's author. Of a pod that is `done` some are ours."""
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    return [each for each in containers if not (done and each["name"].startswith(OURS))]


def kserve_containers(names: Iterable[str]) -> tuple[str, ...]:
    """KServe's server (or, without one, its worker) and its transformer, as far as they are among `names`."""
    here = set(names)
    server = next((name for name in _SERVERS if name in here), None)
    if server is None:
        return ()
    return (server, _TRANSFORMER) if _TRANSFORMER in here else (server,)


def server_containers(
    wanted: tuple[str, ...] | None, containers: list[Container], mains: list[Container], where: str
) -> tuple[str, ...]:
    """Names of the containers that see a model, in the order of the pod.

    Raises:
        Denied: one that is `wanted` is not there.
    """
    if wanted is None:
        return kserve_containers(each["name"] for each in mains) or (mains[0]["name"],)
    if wanted == ("*",):
        return tuple(each["name"] for each in mains)
    there = [each["name"] for each in containers]
    for name in wanted:
        if name not in there:
            raise Denied(
                f"{where}: the pod has no container {shown(name)}", hint=f"{CONTAINER} names some of its containers"
            )
    return tuple(name for name in there if name in wanted)
