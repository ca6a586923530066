"""What a pod asks for, as values: read from annotations, from KServe's, or from what KServe's webhook made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelcar.admission.settings import Affinity, Link, Mode

__all__ = ["Asked", "Model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model in one pod.

    Attributes:
        name: unique in the pod, a DNS label of at most 40 characters: volumes and containers are named after it.
        image: the reference without `oci://`, as it was written, or pinned to what a former pass verified.
        written: the reference as it was written.
        path: where servers see it; absolute, normalised.
        mode: what the pod says of it; `None` for what the settings say.
        pull_policy: `Always`, `IfNotPresent`, `Never`; `None` for the cluster's default.
        containers: names of the containers that see it, init containers among them; never empty.
        found: whether only KServe's finished injection says so, which the rewritten pod has no more.
    """

    name: str
    image: str
    written: str
    path: str
    mode: Mode | None
    link: Link
    containers: tuple[str, ...]
    pull_policy: str | None = None
    found: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Everything that a pod asks for.

    Attributes:
        images: every image whose facts a rewriting needs, in the pod's order: models, and containers that see them;
            with policies on, all containers and image volumes too.
        former: whether a former pass of ours was here.
        pins: images as they were written -> digest, of a former pass.
        notices: lines for whoever applied the pod.
    """

    models: tuple[Model, ...] = ()
    affinity: Affinity = Affinity.PREFERRED
    images: tuple[str, ...] = ()
    former: bool = False
    pins: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
