"""The `authorities` of a policy: each one says whose signature or attestations suffice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from modelcar.signing.attestations.predicate_types import SHORT_NAMES
from modelcar.signing.policy.fields import ClosedFields
from modelcar.signing.policy.trust import Trust, parse_clock, parse_key, parse_keyless

__all__ = ["AttestationRequirement", "AuthoritySpec", "Static", "parse_authorities", "parse_body"]

_FIELDS: Final = (
    "name", "key", "keyless", "static", "source", "ctlog", "rfc3161timestamp", "signatureFormat", "attestations",
)  # fmt: skip
_VERDICT_FIELDS: Final = ("name", "key", "keyless", "ctlog", "rfc3161timestamp")
_WITH_STATIC: Final = frozenset({"name", "static"})
_BODY_FIELDS: Final = ("type", "data", "remote", "configMapRef")
_BODY_INPUTS: Final = ("fetchConfigFile", "includeSpec", "includeObjectMeta", "includeTypeMeta")


@dataclass(frozen=True, slots=True, kw_only=True)
class Static:
    """A decision without looking at signatures."""

    passes: bool
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationRequirement:
    """A statement of this type must be there. `body` names the language of a policy over it, which nobody here runs."""

    name: str
    predicate_type: str
    body: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoritySpec:
    """`trust` is `Static`, a key or identities. With attestations these are what is asked for, instead of a signature.

    `elsewhere` says where signatures lie, if not beside the image.
    """

    name: str
    trust: Trust | Static
    form: Literal["legacy", "bundle"] | None = None
    attestations: tuple[AttestationRequirement, ...] = ()
    elsewhere: str | None = None


def parse_authorities(fields: ClosedFields, *, verdicts: bool = False) -> tuple[AuthoritySpec, ...]:
    """`authorities` of `fields`: at least one, none twice. For `verdicts`, only those that name a signer.

    Raises:
        UsageError: with the path to the field.
    """
    known = _VERDICT_FIELDS if verdicts else _FIELDS
    specs = tuple(_authority(each, i) for i, each in enumerate(fields.some_objects("authorities", known)))
    names = [spec.name for spec in specs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise fields.fail("authorities", f"has two of the name {twice[0]!r}")
    return specs


def parse_body(fields: ClosedFields, name: str, *, inputs: bool = False) -> str | None:
    """The language of the CUE or rego policy in field `name`, which is read only to be refused knowingly."""
    body = fields.optional_object(name, (*_BODY_FIELDS, *(_BODY_INPUTS if inputs else ())))
    if body is None:
        return None
    language = body.choice("type", ("cue", "rego"))
    if (which := body.one_of("data", "remote", "configMapRef")) == "data":
        body.text("data")
    elif which == "remote":
        remote = body.object("remote", ("url", "sha256sum"))
        remote.text("url"), remote.text("sha256sum")
    else:
        reference = body.object("configMapRef", ("name", "namespace", "key"))
        reference.text("name"), reference.text("key"), reference.optional_text("namespace")
    for each in _BODY_INPUTS if inputs else ():
        body.flag(each)
    return language


def _authority(fields: ClosedFields, position: int) -> AuthoritySpec:
    name = fields.optional_text("name") or f"authority-{position}"
    which = fields.one_of("key", "keyless", "static")
    if which == "static":
        if others := [other for other in _FIELDS if fields.given(other) and other not in _WITH_STATIC]:
            raise fields.fail(others[0], f"excludes {fields.path}.static")
        static = fields.object("static", ("action", "message"))
        passes = static.choice("action", ("pass", "fail")) == "pass"
        return AuthoritySpec(name=name, trust=Static(passes=passes, message=static.optional_text("message")))
    clock = parse_clock(fields)
    trust = parse_key(fields, "key", clock) if which == "key" else parse_keyless(fields, "keyless", clock)
    form = fields.optional_choice("signatureFormat", ("legacy", "bundle"))
    return AuthoritySpec(
        name=name,
        trust=trust,
        form="legacy" if form == "legacy" else "bundle" if form == "bundle" else None,
        attestations=_attestations(fields),
        elsewhere=_source(fields),
    )


def _attestations(fields: ClosedFields) -> tuple[AttestationRequirement, ...]:
    found = tuple(
        AttestationRequirement(
            name=each.text("name"),
            predicate_type=SHORT_NAMES.get(kind := each.text("predicateType"), kind),
            body=parse_body(each, "policy"),
        )
        for each in fields.objects("attestations", ("name", "predicateType", "policy"))
    )
    if len({each.name for each in found}) != len(found):
        raise fields.fail("attestations", "has a name twice")
    return found


def _source(fields: ClosedFields) -> str | None:
    sources = fields.objects("source", ("oci", "signaturePullSecrets", "tagPrefix"))
    if len(sources) > 1:
        raise fields.fail("source", "has more than one entry, which policy-controller does not take either")
    for source in sources:
        for secret in source.objects("signaturePullSecrets", ("name",)):
            secret.text("name")
        place, prefix = source.optional_text("oci"), source.optional_text("tagPrefix")
        if place or prefix:
            return place or f"tags that begin with {prefix}"
    return None
