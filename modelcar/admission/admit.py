"""From a pod to what becomes of it: read what it asks for, find out about its images, rewrite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelcar.admission.asked import Asked
from modelcar.admission.facts import Facts
from modelcar.admission.settings import AdmissionSettings

__all__ = ["Caller", "Outcome", "Resolver"]

Pod = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """On whose behalf images are looked at.

    Attributes:
        owner: the controller of the pod (`uid`), so that replicas agree on what a tag means; `None` for a bare pod.
        workload: kind and labels, for policies with `match`.
    """

    namespace: str
    owner: str | None = None
    dry_run: bool = False


class Resolver(Protocol):
    """Finds out about images: `resolve.Images` asks registries, `Offline` nobody."""

    def facts(self, pod: Pod, asked: Asked, caller: Caller, settings: AdmissionSettings) -> Facts:
        """One `ImageFact` for each of `asked.images`, in bounded time: the publisher of models, the users of images
        that containers which see a model run. What went wrong with one is in its `problem` or `trust`: nothing is
        raised for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a pod.

    Attributes:
        pod: as it will run; the very object that came in if nothing changed.
        warnings: lines for whoever applied it.
        audit: for the API server's audit log: names without prefix, short values.
    """

    pod: Pod
    warnings: tuple[str, ...] = ()
    audit: Mapping[str, str] = field(default_factory=dict)
