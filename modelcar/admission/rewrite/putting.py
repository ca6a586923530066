"""Placements put into a spec: mounts, volumes and containers. The spec is changed, what it is made of is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from modelcar.admission.names import CONTAINER, MODE, OURS
from modelcar.admission.rewrite.lists import Object, upsert
from modelcar.admission.rewrite.mounts import is_free, with_mounts
from modelcar.admission.rewrite.placement import Placement, VolumePlacement
from modelcar.admission.rewrite.sidecar import check, legacy_sidecar, native_sidecar
from modelcar.admission.settings import AdmissionSettings, Link
from modelcar.errors import Denied
from modelcar.holder import MODEL_PATH

__all__ = ["put_containers", "put_mounts", "put_volumes"]

Placements = Sequence[Placement | VolumePlacement]
_FIELDS: Final = ("initContainers", "containers")


def put_mounts(spec: Object, placements: Placements) -> None:
    """Mount the models where they are to be seen, and nowhere else."""
    for field in _FIELDS:
        if spec.get(field):
            spec[field] = [
                each if each["name"].startswith(OURS) else with_mounts(each, _mounts(each, placements))
                for each in spec[field]
            ]


def put_volumes(spec: Object, placements: Placements) -> None:
    """One for each model, or for each folder of directory links."""
    volumes = list(spec.get("volumes") or ())
    for placement in placements:
        upsert(volumes, _volume(placement))
    _keep(volumes, {placement.volume for placement in placements})
    _set(spec, "volumes", volumes)


def put_containers(spec: Object, placements: Placements, settings: AdmissionSettings) -> None:
    """Sidecars before whatever needs them, then their check.

    Raises:
        Denied: the cluster has no native sidecars, and this pod needs one.
    """
    sidecars = [placement for placement in placements if isinstance(placement, Placement)]
    inits, mains = list(spec.get("initContainers") or ()), list(spec["containers"])
    native: list[Object] = []
    legacy: list[Object] = []
    if settings.cluster.native_sidecars:
        native = [native_sidecar(each, settings.rewriting) for each in sidecars]
        native += [check(each, settings.rewriting) for each in _checked(sidecars)] if settings.rewriting.check else []
    else:
        _check_legacy(spec, sidecars)
        legacy = [legacy_sidecar(each, settings.rewriting) for each in sidecars]
    _set(spec, "initContainers", _with(inits, native))
    spec["containers"] = _with(mains, legacy)


def _mounts(container: Object, placements: Placements) -> list[Object]:
    seen = [each for each in placements if container["name"] in each.model.containers]
    mounts: list[Object] = []
    for placement in seen:
        mount = {"name": placement.volume, "mountPath": placement.mount, "readOnly": True}
        if isinstance(placement, VolumePlacement) and placement.sub_path:
            mount["subPath"] = placement.sub_path
        if mount not in mounts:
            mounts.append(mount)
    # A path through /proc/PID/root ends at /models when it is resolved. With two models that would be the wrong one.
    one = seen[0] if len(seen) == 1 else None
    if isinstance(one, Placement) and one.link is Link.FARM and is_free(container, MODEL_PATH, mounts):
        mounts.append({"name": one.volume, "mountPath": MODEL_PATH, "readOnly": True})
    return mounts


def _volume(placement: Placement | VolumePlacement) -> Object:
    if isinstance(placement, Placement):
        return {"name": placement.volume, "emptyDir": {}}
    policy = placement.model.pull_policy
    image: Object = {"reference": placement.image} | ({"pullPolicy": policy} if policy else {})
    return {"name": placement.volume, "image": image}


def _checked(sidecars: list[Placement]) -> list[Placement]:
    """One for each way in which the kernel is asked: it does not depend on what the model is."""
    seen: list[Any] = []
    checked = []
    for placement in sidecars:
        way = (placement.identity, placement.publisher)
        if way not in seen:
            seen.append(way)
            checked.append(placement)
    return checked


def _check_legacy(spec: Object, sidecars: list[Placement]) -> None:
    inits = {each["name"] for each in spec.get("initContainers") or ()}
    hint = f"Kubernetes 1.29 and newer have them (cluster.native_sidecars); or set {MODE} to image-volume"
    for placement in sidecars:
        if spec.get("restartPolicy") not in (None, "Always"):
            raise Denied(
                f"spec.restartPolicy is {spec['restartPolicy']}: without native sidecars the pod would never end",
                hint=hint,
            )
        if waiting := sorted(inits & set(placement.model.containers)):
            raise Denied(f"init container {waiting[0]!r} in {CONTAINER} needs a native sidecar", hint=hint)


def _with(containers: list[Object], wanted: list[Object]) -> list[Object]:
    """`containers` with those that are `wanted`: where they are if that is before all others, else first."""
    names = [each["name"] for each in wanted]
    there = {each["name"]: each for each in containers if each["name"] in names}
    result = [each for each in containers if not each["name"].startswith(OURS)]
    ordered = [each["name"] for each in containers if each["name"] in names]
    put: list[Object] = []
    for each in wanted:
        put = [*put, there[each["name"]]] if each["name"] in there else put
        upsert(put, each)
    if ordered == names:
        first = next((n for n, each in enumerate(containers) if each["name"] in names), 0)
        before = [each for each in containers[:first] if not each["name"].startswith(OURS)]
        return [*before, *put, *result[len(before) :]]
    return [*put, *result]


def _keep(things: list[Object], names: set[str]) -> None:
    things[:] = [each for each in things if not each["name"].startswith(OURS) or each["name"] in names]


def _set(spec: Object, field: str, things: list[Object]) -> None:
    if things or spec.get(field) == things:
        spec[field] = things
    else:
        spec.pop(field, None)
