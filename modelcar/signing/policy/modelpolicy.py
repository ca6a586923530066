"""`ModelPolicy`: what a ClusterImagePolicy cannot say of a model. All rules that are there must hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from modelcar.errors import InvalidDigest, UsageError
from modelcar.oci import Digest
from modelcar.signing.policy.clusterimage import parse_images, parse_mode
from modelcar.signing.policy.fields import ClosedFields
from modelcar.signing.policy.globs import Glob, ImageGlob
from modelcar.signing.policy.licenses import LicenseRule, is_license
from modelcar.signing.policy.verdicts import ScanRequirement, parse_scan

__all__ = ["AllowedSource", "ModelPolicy", "parse_digest", "parse_model_policy"]

_RULES: Final = ("formats", "licenses", "sources", "customCode", "scan", "deniedDigests")
_FORMAT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._*-]*/[A-Za-z0-9*][A-Za-z0-9._*-]*")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedSource:
    """Repositories on the Hub, by a glob over `org/name`; `revision` pins a commit."""

    repository: Glob
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPolicy:
    """Rules that are `None`, empty or false are not there."""

    kind = "ModelPolicy"

    name: str
    images: tuple[ImageGlob, ...]
    warn_only: bool = False
    formats: frozenset[str] = frozenset()
    licenses: LicenseRule | None = None
    sources: tuple[AllowedSource, ...] = ()
    no_custom_code: bool = False
    scan: ScanRequirement | None = None
    denied_digests: frozenset[Digest] = frozenset()


def parse_model_policy(name: str, document: ClosedFields) -> ModelPolicy:
    """Read `spec` of a document, which has at least one rule.

    Raises:
        UsageError: with the path to the field.
    """
    spec = document.object("spec", ("images", "mode", *_RULES))
    policy = ModelPolicy(
        name=name,
        images=parse_images(spec),
        warn_only=parse_mode(spec),
        formats=_formats(spec),
        licenses=_licenses(spec),
        sources=_sources(spec),
        no_custom_code=spec.given("customCode") and spec.choice("customCode", ("deny",)) == "deny",
        scan=parse_scan(spec),
        denied_digests=frozenset(parse_digest(spec, f"deniedDigests[{i}]", d) for i, d in _denied(spec)),
    )
    if not any(spec.given(rule) for rule in _RULES):
        raise UsageError(f"{spec.path} has no rule, so that everything would pass", hint=f"add: {', '.join(_RULES)}")
    return policy


def parse_digest(fields: ClosedFields, name: str, text: str) -> Digest:
    """`text`, the value of field `name`, as a digest."""
    try:
        return Digest.parse(text)
    except InvalidDigest as e:
        raise fields.fail(name, f"is wrong: {e}") from None


def _denied(spec: ClosedFields) -> list[tuple[int, str]]:
    return list(enumerate(spec.texts("deniedDigests")))


def _formats(spec: ClosedFields) -> frozenset[str]:
    formats = spec.optional_object("formats", ("allowed",))
    if formats is None:
        return frozenset()
    allowed = formats.texts("allowed")
    if not allowed or not all(_FORMAT.fullmatch(each) for each in allowed):
        raise formats.fail("allowed", "is not a list of formats", hint="such as safetensors and gguf")
    return frozenset(allowed)


def _licenses(spec: ClosedFields) -> LicenseRule | None:
    licenses = spec.optional_object("licenses", ("allowed", "denied"))
    if licenses is None:
        return None
    rule = LicenseRule(allowed=licenses.texts("allowed"), denied=licenses.texts("denied"))
    for each in (*rule.allowed, *rule.denied):
        if not is_license(each):
            raise UsageError(f"{licenses.path}: {each[:80]!r} is not an SPDX identifier", hint="such as Apache-2.0")
    if not rule.allowed and not rule.denied:
        raise licenses.fail("allowed", "is missing, and so is denied")
    return rule


def _sources(spec: ClosedFields) -> tuple[AllowedSource, ...]:
    sources = spec.optional_object("sources", ("allowed",))
    if sources is None:
        return ()
    return tuple(_source(each) for each in sources.some_objects("allowed", ("repository", "revision")))


def _source(fields: ClosedFields) -> AllowedSource:
    repository, revision = fields.text("repository"), fields.optional_text("revision")
    if not _REPOSITORY.fullmatch(repository):
        raise fields.fail("repository", f"is {repository[:80]!r}", hint="org/name or org/*")
    if revision is not None and not _COMMIT.fullmatch(revision):
        raise fields.fail("revision", f"is {revision[:80]!r}", hint="a commit: 40 hexadecimal digits")
    return AllowedSource(repository=Glob(repository), revision=revision)
