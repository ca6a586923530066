"""Mounts of our volumes in the containers of others."""

from __future__ import annotations

from modelcar.admission.names import CONTAINER, OURS, PATH
from modelcar.admission.reading.paths import is_within
from modelcar.admission.rewrite.lists import Object, upsert
from modelcar.admission.shape import shown
from modelcar.errors import Denied

__all__ = ["check_foreign", "conflict", "is_free", "is_ours", "normal", "with_mounts"]


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


def with_mounts(container: Object, wanted: list[Object]) -> Object:
    """`container` with the mounts that are `wanted` of our volumes, and no others of them.

    Raises:
        Denied: something else is mounted at such a place or in it, or one of `wanted` lies in another.
    """
    for number, mount in enumerate(wanted):
        path = mount["mountPath"]
        if why := conflict(container, path):
            raise Denied(f"{why}, where a model is to be", hint=f"change its mountPath, or {PATH}")
        for other in wanted[:number]:
            if is_within(other["mountPath"], path) or is_within(path, other["mountPath"]):
                raise Denied(
                    f"container {container['name']!r} would have a model at {other['mountPath']} and one at {path}",
                    hint="choose paths that do not lie in each other",
                )
    existing = container.get("volumeMounts") or []
    places = {(each["name"], each["mountPath"]) for each in wanted}
    mounts = [each for each in existing if not is_ours(each) or (each["name"], each.get("mountPath")) in places]
    for mount in wanted:
        upsert(mounts, mount, key=("name", "mountPath"))
    if mounts == existing:
        return container
    changed = {key: value for key, value in container.items() if key != "volumeMounts"}
    return changed | ({"volumeMounts": mounts} if mounts else {})


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
