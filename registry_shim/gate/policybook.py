"""The policies and deny-lists of all rules, read again when a file changes."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from modelcar.errors import ModelcarError, StorageError, UsageError
from modelcar.oci import Digest
from modelcar.signing.policy.policyset import PolicySet, parse, read_files
from registry_shim.gate.settings import GateRule, GateSettings

__all__ = ["Page", "PolicyBook"]

_log = logging.getLogger("registry_shim.gate")
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

    def refusal(self, digest: Digest, rule: GateRule | None) -> str | None:
        """Why a deny-list, the node's or the rule's, forbids exactly this manifest or blob."""
        if (reason := self.denied.get(digest)) is not None:
            return reason
        lists = self.of(rule).deny_lists if rule is not None else ()
        return next((_line(each.name, each.digests[digest]) for each in lists if digest in each.digests), None)


class PolicyBook:
    """Call `open` before the first request, and `refresh` now and then from a thread."""

    def __init__(self, settings: GateSettings) -> None:
        self._settings = settings
        self.page = Page()
        self.problem: str | None = None
        """Why the files of now cannot be read; those of before hold meanwhile."""

    def open(self) -> None:
        """Read everything.

        Raises:
            UsageError: something is not what it should be.
            NotFound, StorageError: a file is not there, or cannot be read.
        """
        self.page = self._read()

    def refresh(self) -> bool:
        """Read what has changed; returns whether anything has. What cannot be read leaves all as it was: a slip in a
        file opens nothing."""
        try:
            page = self._read()
        except ModelcarError as e:
            problem = f"{e} — {e.hint}" if e.hint else str(e)
            if problem != self.problem:
                _log.error("policies are not read again, those of before hold: %s", problem)
            self.problem = problem
            return False
        self.problem = None
        if page.version == self.page.version:
            return False
        _log.info("policies have changed: version %s", page.version[:12])
        self.page = page
        return True

    def _read(self) -> Page:
        version = hashlib.sha256()
        lists = self._parse(self._settings.deny_lists, version)
        if lists.policies:
            first = lists.policies[0]
            raise UsageError(f"{first.kind} {first.name!r} is not a deny-list", hint="give it to a rule")
        policies: dict[GateRule, PolicySet] = {}
        for rule in self._settings.rules:
            version.update(f"{rule.images}\0".encode())
            of_rule = self._parse(rule.policies, version)
            policies[rule] = replace(of_rule, deny_lists=(*lists.deny_lists, *of_rule.deny_lists))
        denied = {d: _line(each.name, why) for each in lists.deny_lists for d, why in each.digests.items()}
        return Page(version=version.hexdigest(), policies=policies, denied=denied)

    def _parse(self, paths: tuple[Path, ...], version: hashlib._Hash) -> PolicySet:
        if not paths:
            return _NOTHING
        try:
            files = read_files(paths)
        except OSError as e:
            raise StorageError(f"cannot read {e.filename or 'a policy'}: {e.strerror}") from None
        for name, content in files:
            version.update(f"{name}\0{len(content)}\0".encode())
            version.update(content)
        return parse(files)


def _line(name: str, reason: str) -> str:
    return f"DigestDenyList {name} revokes it: {reason}"
