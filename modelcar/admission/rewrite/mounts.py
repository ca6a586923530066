"""Mounts of our volumes in the containers of others."""

from __future__ import annotations

from typing import Final

from modelcar.admission.names import CONTAINER, LINK, OURS, PATH
from modelcar.admission.reading.paths import is_within
from modelcar.admission.rewrite.lists import Object
from modelcar.admission.shape import shown
from modelcar.errors import Denied

__all__ = ["check_foreign", "closed_around", "conflict", "is_free", "is_ours", "merged", "normal", "with_mounts"]


_ELSEWHERE: Final = f"choose another {PATH}; a `directory` link ({LINK}) takes the whole folder around it"
_CLOSED: Final = ("configMap", "secret", "projected", "downwardAPI", "image")


def normal(path: str) -> str:
    """`path` without repeated and trailing slashes."""
    return "/" + "/".join(part for part in path.split("/") if part)


def conflict(container: Object, path: str) -> str | None:
    """Why `container` cannot have a model mounted at `path`, in words; `None` if it can."""
    for mount in container.get("volumeMounts") or ():
        if not is_ours(mount) and is_within(normal(mount.get("mountPath") or ""), path):
            volume, there = shown(mount.get("name")), shown(mount.get("mountPath"))
            return f"container {container['name']!r} already mounts volume {volume} at {there}"
    for device in container.get("volumeDevices") or ():
        if is_within(normal(device.get("devicePath") or ""), path):
            return f"container {container['name']!r} already has a device at {shown(device.get('devicePath'))}"
    return None


def closed_around(spec: Object, container: Object, path: str) -> str | None:
    """Why nothing can be mounted at `path`: no folder can be made there, as it lies in a volume that cannot be written
    to."""
    kinds = {each["name"]: each for each in spec.get("volumes") or ()}
    for mount in container.get("volumeMounts") or ():
        there = normal(mount.get("mountPath") or "")
        volume = kinds.get(mount.get("name"), {})
        closed = any(volume.get(kind) is not None for kind in _CLOSED)
        closed = closed or (mount.get("readOnly") is True and volume.get("emptyDir") is not None)
        if not is_ours(mount) and closed and is_within(path, there):
            return (
                f"container {container['name']!r} mounts volume {shown(mount.get('name'))} around it, at {shown(there)}"
            )
    return None


def with_mounts(spec: Object, container: Object, wanted: list[Object]) -> Object:
    """`container` with the mounts that are `wanted` of our volumes, and no others of them.

    Raises:
        Denied: something else is mounted at such a place or in it, or one of `wanted` lies in another.
    """
    for number, mount in enumerate(wanted):
        path = mount["mountPath"]
        if why := conflict(container, path) or closed_around(spec, container, path):
            raise Denied(f"no model can be at {path}: {why}", hint=_ELSEWHERE)
        for other in wanted[:number]:
            if is_within(other["mountPath"], path) or is_within(path, other["mountPath"]):
                raise Denied(
                    f"container {container['name']!r} would have a model at {other['mountPath']} and one at {path}",
                    hint="choose paths that do not lie in each other",
                )
    existing = container.get("volumeMounts") or []
    mounts = merged(existing, wanted)
    if mounts == existing:
        return container
    changed = {key: value for key, value in container.items() if key != "volumeMounts"}
    return changed | ({"volumeMounts": mounts} if mounts else {})


def merged(existing: list[Object], wanted: list[Object]) -> list[Object]:
    """Mounts of others as they are, and of ours those that are `wanted`."""
    places = {(each["name"], each["mountPath"]): each for each in wanted}
    there = [
        places.get((each.get("name", ""), each.get("mountPath", ""))) if is_ours(each) else each for each in existing
    ]
    mounts = [each for each in there if each is not None]
    return [*mounts, *(each for each in wanted if each not in mounts)]


def is_free(container: Object, path: str, wanted: list[Object]) -> bool:
    """Whether nothing is mounted at `path`, in it or around it, and nothing of ours is `wanted` there."""
    theirs = [each for each in container.get("volumeMounts") or () if not is_ours(each)]
    places = [normal(each.get("mountPath") or "") for each in (*theirs, *wanted)]
    return not any(is_within(place, path) or is_within(path, place) for place in places)


def is_ours(mount: Object) -> bool:
    return (mount.get("name") or "").startswith(OURS)


def check_foreign(containers: list[Object]) -> None:
    """Nothing, if nobody but us mounts our volumes.

    Raises:
        Denied: naming the container.
    """
    for container in containers:
        for mount in container.get("volumeMounts") or ():
            if is_ours(mount):
                raise Denied(
                    f"container {container['name']!r} mounts {shown(mount['name'])}: such volumes are ours",
                    hint=f"name the container in {CONTAINER} instead",
                )
