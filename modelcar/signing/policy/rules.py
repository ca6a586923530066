"""The rules of a ModelPolicy, each a function from facts to what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from modelcar.oci import Digest
from modelcar.signing.policy.decision import AuthorityResult, PolicyResult
from modelcar.signing.policy.facts import ImageFacts
from modelcar.signing.policy.licenses import LicenseRule
from modelcar.signing.policy.modelpolicy import AllowedSource, ModelPolicy
from modelcar.signing.policy.opinions import scan_opinion
from modelcar.signing.policy.witnesses import Witnesses

__all__ = ["evaluate_model"]

_LICENSES: Final = "org.opencontainers.image.licenses"
_REPO: Final = "dev.modelcar.source.repo"
_REVISION: Final = "dev.modelcar.source.revision"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_MAX_LISTED: Final = 5


def evaluate_model(policy: ModelPolicy, image: ImageFacts, witnesses: Witnesses, now: datetime) -> PolicyResult:
    """Every rule that `policy` has, so that a person sees all that is wrong at once."""
    results: tuple[AuthorityResult, ...] = ()
    reasons = [*_denied(policy.denied_digests, image)]
    if policy.scan is not None:
        opinion = scan_opinion(policy.scan, image, witnesses, now)
        results = opinion.results
        reasons += opinion.reasons
    if policy.formats:
        reasons += _formats(policy.formats, image)
    if policy.no_custom_code:
        reasons += _custom_code(image)
    if policy.licenses is not None:
        reasons += _licenses(policy.licenses, image)
    if policy.sources:
        reasons += _sources(policy.sources, image)
    return PolicyResult(
        kind=policy.kind,
        name=policy.name,
        satisfied=not reasons,
        warn_only=policy.warn_only,
        reasons=tuple(reasons),
        authorities=results,
    )


def _denied(digests: frozenset[Digest], image: ImageFacts) -> Iterator[str]:
    for digest, what in {**image.contents, image.digest: "the image"}.items():
        if digest in digests:
            yield f"{what} {digest} is denied"


def _formats(allowed: frozenset[str], image: ImageFacts) -> Iterator[str]:
    """Every file whose format is known must have an allowed one, and every weight file must have a known one."""
    if image.files is None:
        yield "formats are not known: the image, or a manifest in it, has no model index"
        return
    bad = [f for f in image.files if (f.format not in allowed if f.format else f.role == "weight")]
    if bad:
        shown = [f"{f.path} ({f.format or 'unknown'})" for f in bad]
        yield f"{_listed(shown)} not of an allowed format ({', '.join(sorted(allowed))})"


def _custom_code(image: ImageFacts) -> Iterator[str]:
    if image.files is None:
        yield "whether there is code in it is not known: the image, or a manifest in it, has no model index"
        return
    if code := [f.path for f in image.files if f.role == "code"]:
        yield f"{_listed(code)} code"


def _licenses(rule: LicenseRule, image: ImageFacts) -> Iterator[str]:
    if not (expressions := image.said(_LICENSES)):
        yield "no licence is declared"
    for expression in expressions:
        if shortcoming := rule.shortcoming(expression):
            yield shortcoming


def _sources(allowed: tuple[AllowedSource, ...], image: ImageFacts) -> Iterator[str]:
    repositories, revisions = image.said(_REPO), image.said(_REVISION)
    if len(repositories) != 1 or len(revisions) != 1:
        yield "where it comes from is not said" if not repositories else "it does not say one commit of one repository"
        return
    (repository,), (revision,) = repositories, revisions
    if not _COMMIT.fullmatch(revision):
        yield f"its source {repository} is not pinned to a commit"
    elif not any(
        source.repository.matches((repository,)) and source.revision in (None, revision) for source in allowed
    ):
        yield f"its source {repository} at {revision[:12]} is not among those allowed"


def _listed(items: list[str]) -> str:
    """Some of `items`, as the subject of a sentence."""
    more = f" and {len(items) - _MAX_LISTED} more" if len(items) > _MAX_LISTED else ""
    return f"{', '.join(items[:_MAX_LISTED])}{more} {'is' if len(items) == 1 else 'are'}"
