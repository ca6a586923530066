"""The policies and deny-lists of all rules, read again when a file changes."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from modelcar.errors import UsageError
from modelcar.oci import Digest
from modelcar.signing.policy.policyset import PolicySet
from modelcar.signing.policy.watched import Watched, read_policies
from registry_shim.gate.settings import GateRule, GateSettings

__all__ = ["Page", "policy_book"]

_NOTHING: Final = PolicySet()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """How all of them stood at one time.

    Attributes:
        version: a digest over every file; what was decided by another version is decided anew.
        denied: by digest, with the list's name and reason: those of the node's own deny-lists.
    """

    version: str = ""
    policies: Mapping[GateRule, PolicySet] = field(default_factory=dict)
    denied: Mapping[Digest, str] = field(default_factory=dict)

    def of(self, rule: GateRule) -> PolicySet:
        """What the images of a rule have to satisfy; the node's deny-lists are among it."""
        return self.policies.get(rule, _NOTHING)

    @property
    def wants_identities(self) -> bool:
        """Whether a policy names identities, for which a root of trust is needed."""
        return any(policies.wants_identities for policies in self.policies.values())

    def refusal(self, digest: Digest, rule: GateRule | None) -> str | None:
        """Why a deny-list, the node's or the rule's, forbids exactly this manifest or blob."""
        if (reason := self.denied.get(digest)) is not None:
            return reason
        lists = self.of(rule).deny_lists if rule is not None else ()
        return next((_line(each.name, each.digests[digest]) for each in lists if digest in each.digests), None)


def policy_book(settings: GateSettings) -> Watched[Page]:
    """Call `open` before the first request, and `refresh` now and then from a thread."""
    return Watched(Page(), lambda: _read(settings), logging.getLogger("registry_shim.gate"))


def _read(settings: GateSettings) -> Page:
    version = hashlib.sha256()
    lists = read_policies(settings.deny_lists, version)
    if lists.policies:
        first = lists.policies[0]
        raise UsageError(f"{first.kind} {first.name!r} is not a deny-list", hint="give it to a rule")
    policies: dict[GateRule, PolicySet] = {}
    for rule in settings.rules:
        version.update(f"{rule.images}\0".encode())
        of_rule = read_policies(rule.policies, version)
        policies[rule] = replace(of_rule, deny_lists=(*lists.deny_lists, *of_rule.deny_lists))
    denied = {d: _line(each.name, why) for each in lists.deny_lists for d, why in each.digests.items()}
    return Page(version=version.hexdigest(), policies=policies, denied=denied)


def _line(name: str, reason: str) -> str:
    return f"DigestDenyList {name} revokes it: {reason}"
