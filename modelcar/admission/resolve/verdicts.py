"""What policies say of an image at one digest. Reads documents and evidence, no weights."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast

from modelcar.admission.facts import Trust
from modelcar.admission.resolve.access import Opened
from modelcar.admission.resolve.memory import Look, Memory, Problem
from modelcar.admission.settings import TrustSettings
from modelcar.errors import InvalidContent
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.inspect import inspect_image
from modelcar.registry import Registry
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.places import RegistryPlace
from modelcar.signing.policy import Default, ImageFacts, PolicySet, Workload, evaluate
from modelcar.signing.policy.clusterimage import ClusterImagePolicy
from modelcar.signing.policy.globs import image_names
from modelcar.signing.policy.roots import authorities_of, prepare
from modelcar.signing.policy.watched import Watched, read_policies
from modelcar.signing.verified import Evidence
from modelcar.store.tree import is_document

__all__ = ["Judge"]

_log = logging.getLogger("modelcar.admission")
_REMEMBERED: Final = 10_000
_DENIED_SECONDS: Final = 15.0  # whoever signs an image after a no should not have to wait long
_MAX_BLOB: Final = 512 << 20  # bytes of a model index with its tar; other documents are smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """The policies of one time."""

    version: str = ""
    policies: PolicySet = field(default_factory=PolicySet)


class Judge:
    """Holds images to the policies of the settings. Safe to share between threads; `open` it first."""

    def __init__(self, settings: TrustSettings) -> None:
        self._settings = settings
        self._book = Watched(_Page(), lambda: _read(settings.policies), _log)
        self._authorities = authorities_of(settings.roots)
        self._known: Memory[tuple[object, ...], Trust] = Memory(_REMEMBERED, seconds=settings.remember_seconds)

    def open(self) -> None:
        """Read the policies.

        Raises:
            UsageError, NotFound, StorageError: one is not what it should be, is not there, or cannot be read.
        """
        self._book.open()
        if self._book.page.policies.wants_identities:
            threading.Thread(target=prepare, args=(self._authorities, _log), name="trust-roots", daemon=True).start()

    def refresh(self) -> None:
        """Read policies that have changed."""
        self._book.refresh()

    def matches(self, workload: Workload) -> tuple[bool, ...]:
        """All that policies see of a workload: which of them are for it."""
        policies = self._book.page.policies.policies
        confined = (policy.match for policy in policies if isinstance(policy, ClusterImagePolicy) and policy.match)
        return tuple(any(match.matches(workload) for match in matches) for matches in confined)

    def trust(self, opened: Opened, registry: Registry, workload: Workload, look: Look) -> Trust:
        """What the policies say.

        Raises:
            NotAtHand: as `Memory.look`.
        """
        page, ref, digest = self._book.page, opened.ref, opened.root.digest
        if (line := _revoked(page.policies, digest)) is not None:
            return Trust(revoked=(line,))
        tag = ref.tag if ref.digest is None else None
        key = (ref.name, tag, digest, page.version, self.matches(workload))
        found = self._known.look(
            key, lambda: self._judge(page.policies, opened, registry, workload), look, seconds=self._seconds
        )
        return Trust(unknown=found.text) if isinstance(found, Problem) else found

    def _seconds(self, trust: Trust) -> float:
        return min(_DENIED_SECONDS if trust.denied else float("inf"), self._settings.remember_seconds)

    def _judge(self, policies: PolicySet, opened: Opened, registry: Registry, workload: Workload) -> Trust:
        place = RegistryPlace(registry, opened.ref)
        names = image_names(opened.ref, opened.root.digest)
        spoken_about = any(glob.matches(names) for policy in policies.policies for glob in policy.images)
        evidence: dict[Digest, Evidence] = {}
        try:
            if spoken_about or policies.deny_lists:
                inspected = inspect_image(opened.root, lambda descriptor: _read_from(place, descriptor))
                facts = ImageFacts.of(opened.ref, inspected, workload)
            else:
                facts = ImageFacts(reference=opened.ref, digest=opened.root.digest, workload=workload)
        except InvalidContent as e:
            return Trust(denied=(f"it cannot be looked into: {e}",))
        if spoken_about:
            about = [opened.root.digest]
            if policies.wants_verdicts:
                about += [*inspected.indexes, *(m.descriptor.digest for m in inspected.manifests)]
            evidence = {digest: gather_evidence(place, digest) for digest in dict.fromkeys(about)}
        decision = evaluate(
            policies,
            facts,
            evidence,
            self._authorities,
            now=datetime.now(UTC),
            default=cast("Default", self._settings.default),
        )
        denied = tuple(reason for reason in decision.reasons if reason not in decision.revoked)
        return Trust(revoked=decision.revoked, denied=denied, warnings=decision.warnings)


def _read(paths: Sequence[Path]) -> _Page:
    version = hashlib.sha256()
    policies = read_policies(paths, version)
    return _Page(version=version.hexdigest(), policies=policies)


def _read_from(place: RegistryPlace, descriptor: Descriptor) -> bytes:
    if is_document(descriptor):
        return place.document(descriptor).content
    return place.blob(descriptor, _MAX_BLOB)


def _revoked(policies: PolicySet, digest: Digest) -> str | None:
    """Why a deny-list forbids the image itself: known without asking anybody."""
    for each in policies.deny_lists:
        if digest in each.digests:
            return f"DigestDenyList {each.name}: the image {digest} is revoked: {each.digests[digest]}"
    return None
