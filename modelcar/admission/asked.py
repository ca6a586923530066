"""What a pod asks for, as values: read from annotations, from KServe's, or from what KServe's webhook made of them."""

from __future__ import annotations

from dataclasses import dataclass

from modelcar.admission.settings import Affinity, Link, Mode

__all__ = ["Asked", "Model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model in one pod.

    Attributes:
        name: unique in the pod, a DNS label of at most 40 characters: volumes and containers are named after it.
        image: the reference as it was written, without `oci://`; may be pinned.
        path: where servers see it; absolute, normalised.
        mode: `SIDECAR` or `IMAGE_VOLUME`, or `AUTO` where nothing was said.
        pull_policy: `Always`, `IfNotPresent`, `Never`; `None` for the cluster's default.
        containers: names of the containers that see it, init containers among them; never empty.
    """

    name: str
    image: str
    path: str
    mode: Mode
    link: Link
    pull_policy: str | None = None
    containers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Everything that a pod asks for.

    Attributes:
        images: every image whose facts a rewriting needs, in the pod's order: models, and containers that see them;
            with policies on, all containers and image volumes too.
    """

    models: tuple[Model, ...] = ()
    affinity: Affinity = Affinity.PREFERRED
    images: tuple[str, ...] = ()
