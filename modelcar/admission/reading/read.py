"""From a pod to what it asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelcar.admission.asked import Asked, Model
from modelcar.admission.names import GROUP, OURS
from modelcar.admission.pinning import pinned
from modelcar.admission.reading.annotations import (
    KNOWN,
    MOST_MODELS,
    affinity_of,
    defaults_of,
    entries_of,
    is_wanted,
)
from modelcar.admission.reading.containers import all_containers, server_containers
from modelcar.admission.reading.entries import Entry
from modelcar.admission.reading.former_pass import Done, parse_done, parse_pins
from modelcar.admission.reading.injection import Injection
from modelcar.admission.reading.kserve import KSERVE_PATH, entries_of_kserve, kserve_injection
from modelcar.admission.reading.paths import check_apart, check_path
from modelcar.admission.settings import AdmissionSettings, Link, TrustMode
from modelcar.admission.shape import Pod, check_shape, shown
from modelcar.errors import Denied
from modelcar.oci import Digest

__all__ = ["Scene", "read", "scene_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A pod, and what in it is not its author's: ours, by `done`, and KServe's."""

    spec: dict[str, Any]
    annotations: Mapping[str, str]
    wanted: bool
    done: Done | None
    pins: Mapping[str, str]
    injection: Injection

    def containers(self) -> list[dict[str, Any]]:
        """The author's: init containers, then containers."""
        everything = all_containers(self.spec, done=self.done is not None)
        return [each for each in everything if each["name"] not in self.injection.containers]

    def mains(self) -> list[dict[str, Any]]:
        """The author's without init containers.

        Raises:
            Denied: there are none.
        """
        inits = {each["name"] for each in self.spec.get("initContainers") or ()}
        mains = [each for each in self.containers() if each["name"] not in inits]
        if not mains:
            raise Denied("the pod has no container of its own")
        return mains

    def volumes(self) -> list[dict[str, Any]]:
        """The author's."""
        theirs = (OURS,) if self.done else ()
        return [
            each
            for each in self.spec.get("volumes") or ()
            if each["name"] not in self.injection.volumes and not each["name"].startswith(theirs)
        ]


def scene_of(pod: Pod, settings: AdmissionSettings) -> Scene:
    """Raises `Denied` where the pod is malformed."""
    check_shape(pod)
    metadata, spec = pod.get("metadata") or {}, pod["spec"]
    annotations = metadata.get("annotations") or {}
    labels = metadata.get("labels") or {}
    wanted = is_wanted(annotations, labels)
    done = parse_done(annotations)
    return Scene(
        spec=spec,
        annotations=annotations,
        wanted=wanted,
        done=done,
        pins=parse_pins(annotations) if done or settings.trust.mode is not TrustMode.OFF else {},
        injection=kserve_injection(spec, annotations, done=done is not None)
        if wanted and settings.rewriting.kserve
        else Injection(),
    )


def read(pod: Pod, settings: AdmissionSettings) -> Asked:
    """What `pod` (metadata and spec) asks for; without models if nothing, or if it says `modelcar.dev/inject: "false"`.

    Raises:
        Denied: the pod is malformed or contradicts itself; naming annotation, entry and field.
    """
    scene = scene_of(pod, settings)
    scene.mains()
    models = tuple(_models(scene, settings)) if scene.wanted else ()
    if len(models) > MOST_MODELS:
        raise Denied(f"the pod asks for {len(models)} models; it may have at most {MOST_MODELS}")
    check_apart(models)
    return Asked(
        models=models,
        affinity=affinity_of(scene.annotations, settings.rewriting.affinity),
        images=tuple(dict.fromkeys(_images(models, scene, settings))),
        former=scene.done is not None,
        pins=scene.pins,
        notices=tuple(_notices(scene)),
    )


def _models(scene: Scene, settings: AdmissionSettings) -> Iterator[Model]:
    for entry in entries_of(scene.annotations):
        link = entry.link or settings.rewriting.link
        path = settings.rewriting.path if entry.path is None else entry.path
        yield _model(entry, entry, path, link, scene)
    if settings.rewriting.kserve:
        recorded = scene.done.found if scene.done else ()
        said = defaults_of(scene.annotations)
        for entry in entries_of_kserve(scene.spec, scene.annotations, scene.injection, recorded):
            yield _model(entry, said, entry.path or KSERVE_PATH, said.link or Link.DIRECTORY, scene)


def _model(entry: Entry, said: Entry, path: str, link: Link, scene: Scene) -> Model:
    """`said` is what the annotations say of it."""
    pin = scene.pins.get(entry.image)
    image = pinned(entry.image, Digest.parse(pin)) if pin else entry.image
    return Model(
        name=entry.name,
        image=image,
        written=entry.image,
        path=check_path(path, link, f"{entry.where}: the path"),
        mode=said.mode or entry.mode,
        link=link,
        containers=server_containers(
            said.containers or entry.containers, scene.containers(), scene.mains(), entry.where
        ),
        pull_policy=said.pull_policy,
        found=entry.found,
    )


def _images(models: tuple[Model, ...], scene: Scene, settings: AdmissionSettings) -> Iterator[str]:
    """Models, containers that see one, and with policies on everything else that runs or is mounted."""
    yield from (model.image for model in models)
    seeing = {name for model in models for name in model.containers}
    everything = settings.trust.mode is not TrustMode.OFF
    for container in scene.containers():
        if container.get("image") and (everything or container["name"] in seeing):
            yield container["image"]
    if everything:
        for volume in scene.volumes():
            reference = (volume.get("image") or {}).get("reference")
            if reference:
                yield reference


def _notices(scene: Scene) -> Iterator[str]:
    for name in scene.annotations:
        if name.startswith(f"{GROUP}/") and name not in KNOWN:
            yield f"annotation {shown(name)[1:-1]} is not known"
