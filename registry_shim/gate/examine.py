"""One image as its rule sees it: facts, signatures and signed verdicts. Reads documents and evidence, no weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from modelcar.cache.origin import Origin
from modelcar.checkpoint.formats.sniff import detect_format
from modelcar.checkpoint.roles import role_of
from modelcar.layers.index import ModelIndex
from modelcar.layers.outline import LARGEST, outline_index_layer
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.inspect import Inspected, inspect_image
from modelcar.scanning.readings import titles
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.places import Place
from modelcar.signing.policy import Authorities, ImageFacts, PolicySet, evaluate
from modelcar.signing.policy.globs import image_names
from modelcar.signing.policy.modelpolicy import ModelPolicy
from modelcar.signing.policy.opinions import ScanOpinion, scan_opinion
from modelcar.signing.policy.verdicts import ScanRequirement
from modelcar.signing.policy.witnesses import Witnesses
from modelcar.signing.verified import Evidence
from modelcar.store.tree import is_document
from registry_shim.gate.settings import GateRule, ScanDemand

__all__ = ["Examination", "contents_of", "examine", "reader"]

_MOST_NAMED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What is known of an image without looking into its layers.

    Attributes:
        documents: its manifests and indexes, itself included.
        blobs: its configs and layers, each once.
        reasons: why it must not be served; nothing that a scan finds will change that.
        warnings: what policies in warn mode say.
        malicious: who said so, in a signed verdict.
        vouched: who signed it, and who called it clean; shown to people.
        is_attested: whether a verdict that suffices is attached.
        lacking: why the verdicts that are attached do not suffice.
        requirements: what this node's own verdict has to reach as well.
        formats_known: whether the documents tell the formats of all files.
    """

    root: Descriptor
    documents: frozenset[Digest]
    blobs: tuple[Descriptor, ...]
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    malicious: tuple[str, ...] = ()
    vouched: tuple[str, ...] = ()
    is_attested: bool = False
    lacking: tuple[str, ...] = ()
    requirements: tuple[ScanRequirement, ...] = ()
    formats_known: bool = True


def examine(
    origin: Origin,
    root: Descriptor,
    place: Place,
    rule: GateRule,
    policies: PolicySet,
    authorities: Authorities,
    now: datetime,
) -> Examination:
    """Look at the image `root`, and at what is attached to it.

    Raises:
        InvalidContent: a document is not what it should be.
        NotFound, WorldError: something cannot be had.
    """
    inspected = inspect_image(root, reader(place), models=_outline)
    about = [root.digest]
    if policies.wants_verdicts:
        about += [*inspected.indexes, *(m.descriptor.digest for m in inspected.manifests)]
    evidence = {digest: gather_evidence(place, digest) for digest in dict.fromkeys(about)} if policies.policies else {}
    facts = ImageFacts.of(origin.reference(digest=root.digest), inspected)
    documents, blobs = contents_of(inspected)
    format_reasons, formats_known = _formats(rule, inspected, facts)
    decision = evaluate(
        _without_scans(policies),
        facts,
        evidence,
        authorities,
        now=now,
        default="deny" if policies.policies else "allow",
    )
    opinions = _opinions(policies, facts, evidence, authorities, now)
    must = [(policy, opinion) for policy, opinion in opinions if not policy.warn_only]
    signers = [signer for result in decision.policies for a in result.authorities for signer in a.signers]
    scanners = [signer for _, opinion in opinions for a in opinion.results for signer in a.signers]
    reasons = [*decision.reasons, *format_reasons, *_too_large(rule, blobs)]
    reasons += [line for policy, opinion in must for line in _named(policy, opinion.malicious or opinion.unheard)]
    return Examination(
        root=root,
        documents=documents,
        blobs=blobs,
        reasons=tuple(dict.fromkeys(reasons)),
        warnings=(*decision.warnings, *(line for p, o in opinions if p.warn_only for line in _named(p, o.reasons))),
        malicious=tuple(dict.fromkeys(line for _, opinion in must for line in opinion.malicious)),
        vouched=tuple(dict.fromkeys((*(f"signed by {s}" for s in signers), *(f"clean by {s}" for s in scanners)))),
        is_attested=bool(must) and all(opinion.is_clean for _, opinion in must),
        lacking=_lacking(rule, must),
        requirements=tuple(policy.scan for policy, _ in must if policy.scan is not None),
        formats_known=formats_known,
    )


def reader(place: Place) -> Callable[[Descriptor], bytes]:
    """Reads documents and small blobs."""

    def read(descriptor: Descriptor) -> bytes:
        if is_document(descriptor):
            return place.document(descriptor).content
        return place.blob(descriptor, LARGEST)

    return read


def _outline(layer: bytes) -> ModelIndex:
    """Policies ask about files; tensors take hundreds of megabytes, and nobody has vouched for the index yet."""
    return outline_index_layer(lambda offset, size: layer[offset : offset + size], len(layer))


def contents_of(inspected: Inspected) -> tuple[frozenset[Digest], tuple[Descriptor, ...]]:
    """The documents and the blobs of an image."""
    documents = {inspected.root.digest, *inspected.indexes, *(m.descriptor.digest for m in inspected.manifests)}
    blobs = {blob.digest: blob for each in inspected.manifests for blob in each.manifest.blobs}
    return frozenset(documents), tuple(blobs.values())


def _without_scans(policies: PolicySet) -> PolicySet:
    """Verdicts are weighed apart: where there is none yet, this node can make one."""
    return replace(
        policies,
        policies=tuple(replace(p, scan=None) if isinstance(p, ModelPolicy) else p for p in policies.policies),
    )


def _opinions(
    policies: PolicySet, facts: ImageFacts, evidence: dict[Digest, Evidence], authorities: Authorities, now: datetime
) -> list[tuple[ModelPolicy, ScanOpinion]]:
    names = image_names(facts.reference, facts.digest)
    witnesses = Witnesses(evidence, authorities)
    return [
        (policy, scan_opinion(policy.scan, facts, witnesses, now))
        for policy in policies.policies
        if isinstance(policy, ModelPolicy) and policy.scan and any(glob.matches(names) for glob in policy.images)
    ]


def _lacking(rule: GateRule, must: list[tuple[ModelPolicy, ScanOpinion]]) -> tuple[str, ...]:
    if not must and rule.scan is ScanDemand.ATTESTED:
        return ("no ModelPolicy that speaks about it names whose scan verdicts count",)
    return tuple(line for policy, opinion in must for line in _named(policy, opinion.reasons))


def _named(policy: ModelPolicy, lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{policy.kind} {policy.name}: {line}" for line in lines)


def _too_large(rule: GateRule, blobs: tuple[Descriptor, ...]) -> list[str]:
    size = sum(blob.size for blob in blobs)
    return [f"it has {size} bytes; {rule.max_bytes} are allowed"] if 0 < rule.max_bytes < size else []


def _formats(rule: GateRule, inspected: Inspected, facts: ImageFacts) -> tuple[list[str], bool]:
    """What is not of an allowed format, and whether that is all that can be wrong.

    By the model index; without one by the names of layers that are single files. Of other layers nothing is known
    before they were scanned.
    """
    if not rule.formats:
        return [], True
    if facts.files is not None:
        named = [(file.path, file.role, file.format) for file in facts.files]
        known = True
    else:
        layers = [layer for each in inspected.manifests for layer in each.manifest.layers]
        paths = [title for layer in layers for title in titles(layer)]
        found = [(path, detect_format(path, b"", 0) or _by_ending(path)) for path in paths]
        named = [(path, role_of(path, format_), format_) for path, format_ in found]
        known = all(titles(layer) for layer in layers)
    bad = [f"{p} ({f or 'unknown'})" for p, role, f in named if (f not in rule.formats if f else role == "weight")]
    if not bad:
        return [], known
    more = f" and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else ""
    allowed = ", ".join(rule.formats)
    return [f"not of an allowed format ({allowed}): {', '.join(bad[:_MOST_NAMED])}{more}"], known


def _by_ending(path: str) -> str | None:
    return "gguf" if path.lower().endswith(".gguf") else None
