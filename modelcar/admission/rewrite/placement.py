"""How each model comes into the pod: decided here, done elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from modelcar.admission.asked import Model
from modelcar.admission.facts import Facts, ImageFact, Publisher
from modelcar.admission.names import MODE, OURS
from modelcar.admission.pinning import pinned
from modelcar.admission.reading.paths import is_systems, is_within, parent_of
from modelcar.admission.rewrite.identity import Identity, identity_of
from modelcar.admission.rewrite.lists import Object
from modelcar.admission.rewrite.mounts import closed_around, conflict
from modelcar.admission.settings import AdmissionSettings, Link, Mode
from modelcar.errors import Denied
from modelcar.holder import MODEL_PATH

__all__ = ["Placement", "Site", "VolumePlacement", "placements_of"]

_ELSEWHERE: Final = "/run/modelcar"
_UNKNOWN: Final = ImageFact()
_FOLDER: Final = MODEL_PATH.removeprefix("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A model in a sidecar.

    Attributes:
        volume: what it publishes into; models with directory links in one folder share it.
        mount: where containers that see the model mount the volume.
        mount_in_sidecar: the same, unless that would hide the model itself.
        to: what the sidecar publishes to.
    """

    model: Model
    image: str
    publisher: Publisher
    identity: Identity
    volume: str
    mount: str
    mount_in_sidecar: str
    to: str

    @property
    def name(self) -> str:
        return OURS + self.model.name

    @property
    def check_name(self) -> str:
        return f"{OURS}check-{self.model.name}"

    @property
    def link(self) -> Link:
        return self.model.link

    @property
    def pull_policy(self) -> str | None:
        return self.model.pull_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePlacement:
    """A model in an image volume. Without `sub_path` the volume's own folder `models` is where the model is to be."""

    model: Model
    image: str
    mount: str
    sub_path: str | None

    @property
    def volume(self) -> str:
        return OURS + self.model.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where models are to be placed.

    Attributes:
        spec: of the pod, without what KServe injected.
        annotations: of the pod.
    """

    spec: Object
    annotations: Mapping[str, str]
    facts: Facts
    settings: AdmissionSettings

    def fact(self, model: Model) -> ImageFact:
        return self.facts.get(model.image, _UNKNOWN)

    def image(self, model: Model) -> str:
        return pinned(model.image, self.fact(model).digest)


def placements_of(models: Sequence[Model], site: Site) -> list[Placement | VolumePlacement]:
    """One for each model.

    Raises:
        Denied: what the pod asks for cannot be, here or anywhere; naming the field to change.
    """
    if models:
        _check_linux(site.spec)
    placements: list[Placement | VolumePlacement] = []
    for model in models:
        volume, obstacle = _as_volume(model, models, site)
        mode = model.mode or site.settings.rewriting.mode
        if mode is Mode.IMAGE_VOLUME and obstacle:
            raise Denied(f"model {model.name!r} cannot be an image volume: {obstacle}", hint=f"set {MODE} to sidecar")
        if mode is Mode.SIDECAR or obstacle or volume is None:
            placements.append(_as_sidecar(model, site, placements, obstacle))
        else:
            placements.append(volume)
    return placements


def _as_volume(model: Model, models: Sequence[Model], site: Site) -> tuple[VolumePlacement, None] | tuple[None, str]:
    """Or why not."""
    cluster, parent = site.settings.cluster, parent_of(model.path)
    mount, sub_path = (model.path, _FOLDER) if cluster.image_volume_sub_path else (parent, None)
    if not cluster.image_volumes:
        return None, "this cluster has none (they are there from Kubernetes 1.35 on)"
    if sub_path is None and (not model.path.endswith(MODEL_PATH) or is_systems(parent)):
        return None, f"the nodes ignore subPath of one, so that its path has to end with /NAME{MODEL_PATH}"
    for other in models:
        if other is not model and is_within(other.path, mount):
            return None, f"its volume would be mounted at {mount}, which hides {other.path}"
    for container in (*(site.spec.get("initContainers") or ()), *site.spec["containers"]):
        if container["name"] in model.containers:
            why = conflict(container, mount) or closed_around(site.spec, container, mount)
            if why:
                return None, why
    return VolumePlacement(model=model, image=site.image(model), mount=mount, sub_path=sub_path), None


def _as_sidecar(
    model: Model, site: Site, before: Sequence[Placement | VolumePlacement], obstacle: str | None
) -> Placement:
    """`obstacle` is why it cannot be an image volume, `before` what is placed already."""
    publisher = site.fact(model).publisher
    if publisher is Publisher.NOTHING:
        also = f", and an image volume will not do: {obstacle}" if obstacle else ""
        raise Denied(
            f"model {model.name!r}: {model.written} has neither our holder nor a shell to run as a sidecar{also}",
            hint=f"build it with `modelcar build`, or set {MODE} to image-volume",
        )
    _check_can_share(site.spec)
    mount = model.path if model.link is Link.FARM else parent_of(model.path)
    inside = _ELSEWHERE if is_within(mount, MODEL_PATH) or is_within(MODEL_PATH, mount) else mount
    sharing = [each.volume for each in before if isinstance(each, Placement) and each.mount == mount]
    return Placement(
        model=model,
        image=site.image(model),
        publisher=publisher,
        identity=identity_of(model, site.spec, site.annotations, site.facts),
        volume=sharing[0] if sharing else OURS + model.name,
        mount=mount,
        mount_in_sidecar=inside,
        to=inside if model.link is Link.FARM else f"{inside}/{model.path.rpartition('/')[2]}",
    )


def _check_linux(spec: Object) -> None:
    contexts = [spec, *spec["containers"], *(spec.get("initContainers") or ())]
    if (spec.get("os") or {}).get("name") == "windows":
        raise Denied("spec.os.name is windows: models are for Linux pods")
    if (spec.get("nodeSelector") or {}).get("kubernetes.io/os") == "windows":
        raise Denied("spec.nodeSelector asks for windows: models are for Linux pods")
    if any((each.get("securityContext") or {}).get("windowsOptions") for each in contexts):
        raise Denied("securityContext.windowsOptions is set: models are for Linux pods")


def _check_can_share(spec: Object) -> None:
    if spec.get("hostPID"):
        raise Denied(
            "spec.hostPID is true: it cannot be combined with the process namespace that a sidecar shares",
            hint=f"remove hostPID, or set {MODE} to image-volume where the cluster can",
        )
    if spec.get("shareProcessNamespace") is False:
        raise Denied(
            "spec.shareProcessNamespace is false: the server reads the model through the sidecar's process",
            hint=f"remove shareProcessNamespace, or set {MODE} to image-volume where the cluster can",
        )
