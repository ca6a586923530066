"""From a pod to what becomes of it: read what it asks for, find out about its images, rewrite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from modelcar.admission.asked import Asked
from modelcar.admission.facts import Facts, ImageFact
from modelcar.admission.pinning import digest_in
from modelcar.admission.reading import read
from modelcar.admission.rewrite import rewrite
from modelcar.admission.rewrite.trust import judge
from modelcar.admission.settings import AdmissionSettings
from modelcar.admission.shape import Pod

__all__ = ["Caller", "Offline", "Outcome", "Pod", "Resolver", "admit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """On whose behalf images are looked at.

    Attributes:
        owner: the controller of the pod (`uid`), so that replicas agree on what a tag means; `None` for a bare pod.
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


class Offline:
    """Knows what is written in the pod and nothing else: a digest in a reference, no users, no policies.

    Models are taken for images of `modelcar build`, which have our holder.
    """

    def facts(self, pod: Pod, asked: Asked, caller: Caller, settings: AdmissionSettings) -> Facts:  # noqa: ARG002  # the protocol's
        problem = "nobody was asked about its image (--resolve asks the registry)"
        return {image: ImageFact(digest=digest_in(image), problem=problem) for image in asked.images}


def admit(pod: Pod, resolver: Resolver, caller: Caller, settings: AdmissionSettings) -> Outcome:
    """What becomes of `pod` (metadata and spec, of a pod or of a template), which is not changed.

    Raises:
        Denied: it may not run, or cannot as it is; one line, and in `reasons` all that policies say against it.
    """
    if not settings.enabled:
        return Outcome(pod=pod)
    asked = read(pod, settings)
    if not asked.images and not asked.former:
        return Outcome(pod=pod, warnings=asked.notices)
    facts = resolver.facts(pod, asked, caller, settings) if asked.images else {}
    judgement = judge(asked, facts, settings.trust)
    rewritten = rewrite(pod, asked, facts, settings, judgement.status)
    unpinned = () if isinstance(resolver, Offline) else _unpinned(asked, facts)
    warnings = (*asked.notices, *judgement.warnings, *unpinned)
    return Outcome(pod=rewritten, warnings=warnings, audit={**_audit(asked, facts), **judgement.audit})


def _unpinned(asked: Asked, facts: Facts) -> tuple[str, ...]:
    """Models of which the registry did not say the digest."""
    unknown = [model for model in asked.models if facts[model.image].digest is None]
    return tuple(
        f"model {model.name!r} is not pinned: {facts[model.image].problem or 'its digest is not known'}"
        for model in unknown
    )


def _audit(asked: Asked, facts: Facts) -> dict[str, str]:
    models = [f"{model.name}={facts[model.image].digest or model.image}" for model in asked.models]
    return {"models": ",".join(models)} if models else {}
