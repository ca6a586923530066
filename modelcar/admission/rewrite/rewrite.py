"""The pod as it will run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from modelcar.admission.asked import Asked, Model
from modelcar.admission.facts import Facts
from modelcar.admission.names import DIGESTS, DONE, OURS, STATUS
from modelcar.admission.pinning import digest_in
from modelcar.admission.reading.entries import Entry
from modelcar.admission.reading.former_pass import Done
from modelcar.admission.reading.injection import take_away
from modelcar.admission.reading.read import Scene, scene_of
from modelcar.admission.rewrite.affinity import with_affinity
from modelcar.admission.rewrite.digests import digests_of, pin_others
from modelcar.admission.rewrite.identity import APPARMOR
from modelcar.admission.rewrite.lists import Object
from modelcar.admission.rewrite.mounts import check_foreign
from modelcar.admission.rewrite.placement import Placement, Site, VolumePlacement, placements_of
from modelcar.admission.rewrite.putting import put_containers, put_mounts, put_volumes
from modelcar.admission.settings import AdmissionSettings
from modelcar.admission.shape import Pod
from modelcar.errors import Denied
from modelcar.oci import Digest

__all__ = ["rewrite"]

Placements = Sequence[Placement | VolumePlacement]


def rewrite(pod: Pod, asked: Asked, facts: Facts, settings: AdmissionSettings, status: str | None = None) -> Pod:
    """`pod` with the models that are `asked` for, pinned to the digests in `facts`; `status` is what policies said.

    What is not ours to change is the same object in both, `pod` itself if nothing changes. Rewriting the outcome again
    changes nothing.

    Raises:
        Denied: what is asked for cannot be; naming the field to change.
    """
    scene = scene_of(pod, settings)
    if scene.done is None and not asked.models and status is None:
        return pod
    spec = dict(pod["spec"])
    written: dict[str, str | None] = {DONE: None, STATUS: status}
    if asked.models or scene.done:
        written |= _with_models(spec, scene, asked, facts, settings)
    pin_others(spec, facts)
    digests = digests_of(spec, asked, facts)
    written[DIGESTS] = json.dumps(digests, separators=(",", ":"), sort_keys=True) if digests else None
    return _changed(pod, spec, written)


def _with_models(
    spec: Object, scene: Scene, asked: Asked, facts: Facts, settings: AdmissionSettings
) -> dict[str, str | None]:
    """Put the models into `spec`; returns annotations."""
    if scene.done is None:
        _check_names_are_free(spec, scene)
    take_away(spec, scene.injection)
    site = Site(spec=spec, annotations=scene.annotations, facts=facts, settings=settings)
    placements = placements_of(asked.models, site)
    put_mounts(spec, placements)
    put_volumes(spec, placements)
    put_containers(spec, placements, settings)
    shared = _share(spec, placements, scene.done)
    _prefer_nodes(spec, asked, placements, scene)
    found = tuple(_recorded(model) for model in asked.models if model.found)
    done = str(Done(shared=shared, found=found)) if placements else None
    return _profiles(spec, placements, scene) | {DONE: done}


def _check_names_are_free(spec: Object, scene: Scene) -> None:
    """Nothing, if no name of the author's could be one of ours.

    Raises:
        Denied: naming the field.
    """
    for field in ("containers", "initContainers", "volumes"):
        for number, each in enumerate(spec.get(field) or ()):
            theirs = each["name"] not in (*scene.injection.containers, *scene.injection.volumes)
            if theirs and each["name"].startswith(OURS):
                raise Denied(
                    f"spec.{field}[{number}].name {each['name']!r} begins with {OURS!r}, as what is added does",
                    hint="choose another name",
                )
    check_foreign([*(spec.get("initContainers") or ()), *spec["containers"]])


def _share(spec: Object, placements: Placements, done: Done | None) -> bool:
    """Share the process namespace if that is needed; returns whether it was us who set it."""
    ours = done is not None and done.shared
    if any(isinstance(placement, Placement) for placement in placements):
        ours = ours or spec.get("shareProcessNamespace") is not True
        spec["shareProcessNamespace"] = True
        return ours
    if ours:
        spec.pop("shareProcessNamespace", None)
    return False


def _prefer_nodes(spec: Object, asked: Asked, placements: Placements, scene: Scene) -> None:
    models = [(placement.model.name, digest_in(placement.image)) for placement in placements]
    former = [Digest.parse(each) for each in scene.pins.values()]
    affinity = with_affinity(spec, asked.affinity, models, former)
    if affinity or spec.get("affinity") == affinity:
        spec["affinity"] = affinity
    else:
        spec.pop("affinity", None)


def _recorded(model: Model) -> Entry:
    return Entry(
        where=DONE, name=model.name, image=model.written, path=model.path, mode=model.mode, containers=model.containers
    )


def _profiles(spec: Object, placements: Placements, scene: Scene) -> dict[str, str | None]:
    """AppArmor profiles of our containers where the server's is given by annotation; others of ours go."""
    profiles: dict[str, str | None] = dict.fromkeys(
        name for name in scene.annotations if scene.done and name.startswith(APPARMOR + OURS)
    )
    here = {each["name"] for each in (*(spec.get("initContainers") or ()), *spec["containers"])}
    for placement in placements:
        if isinstance(placement, Placement) and placement.identity.profile is not None:
            ours = here.intersection((placement.name, placement.check_name))
            profiles |= {APPARMOR + name: placement.identity.profile for name in sorted(ours)}
    return profiles


def _changed(pod: Pod, spec: Object, written: Mapping[str, str | None]) -> Pod:
    """`pod` with this spec and these annotations; `None` takes one away."""
    metadata = pod.get("metadata") or {}
    before = metadata.get("annotations") or {}
    annotations = {name: text for name, text in before.items() if name not in written}
    annotations |= {name: text for name, text in written.items() if text is not None}
    if spec == pod["spec"] and annotations == before:
        return pod
    rest = {name: value for name, value in metadata.items() if name != "annotations"}
    if annotations or "annotations" in metadata:
        rest["annotations"] = annotations
    return pod | {"metadata": rest, "spec": spec}
