"""Placements put into a spec: mounts, volumes and containers. The spec is changed, what it is made of is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelcar.admission.names import CONTAINER, MODE, OURS
from modelcar.admission.pinning import default_pull_policy
from modelcar.admission.rewrite.lists import Object, overlaid, upsert
from modelcar.admission.rewrite.mounts import is_free, merged, with_mounts
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
                each if each["name"].startswith(OURS) else with_mounts(spec, each, _mounts(each, placements))
                for each in spec[field]
            ]


def put_volumes(spec: Object, placements: Placements) -> None:
    """One for each model, or for each folder of directory links."""
    wanted = {placement.volume: _volume(placement) for placement in reversed(placements)}
    volumes = [each for each in spec.get("volumes") or () if _is_theirs_or(each, wanted)]
    for placement in placements:
        upsert(volumes, wanted[placement.volume])
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
    readers = {name for placement in placements for name in placement.model.containers}
    _set(spec, "initContainers", _with(inits, native, readers))
    spec["containers"] = _with(mains, legacy, readers)


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
    policy = placement.model.pull_policy or default_pull_policy(placement.image)
    return {"name": placement.volume, "image": {"reference": placement.image, "pullPolicy": policy}}


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


def _with(containers: list[Object], wanted: list[Object], readers: set[str]) -> list[Object]:
    """`containers` with those of ours that are `wanted` and no others: before all others, or where they are if they are
    there in this order and before all `readers`."""
    there = {each["name"]: each for each in containers if each["name"].startswith(OURS)}
    ours = [_over(there.get(each["name"]), each) for each in wanted]
    theirs = [each for each in containers if each["name"] not in there]
    first = next((number for number, each in enumerate(containers) if each["name"] in there), 0)
    in_order = [each["name"] for each in containers[first : first + len(wanted)]] == [each["name"] for each in wanted]
    if not in_order or any(each["name"] in readers for each in containers[:first]):
        first = 0
    return [*theirs[:first], *ours, *theirs[first:]]


def _over(existing: Object | None, wanted: Object) -> Object:
    """Defaults of the API server and what other webhooks mount stay."""
    if existing is None:
        return wanted
    mounts = merged(existing.get("volumeMounts") or [], wanted["volumeMounts"])
    old = {field: value for field, value in existing.items() if field != "securityContext"}
    return overlaid(old, wanted | {"volumeMounts": mounts})


def _is_theirs_or(volume: Object, wanted: Mapping[str, Object]) -> bool:
    """Whether `volume` is the author's, or one of ours that is `wanted`, of the same kind."""
    return not volume["name"].startswith(OURS) or volume.keys() == wanted.get(volume["name"], {}).keys()


def _set(spec: Object, field: str, things: list[Object]) -> None:
    if things or spec.get(field) == things:
        spec[field] = things
    else:
        spec.pop(field, None)
