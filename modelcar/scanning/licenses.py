"""Licences, held to what policies say of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modelcar.checkpoint.card import parse_card
from modelcar.checkpoint.gather import licenses_of
from modelcar.scanning.findings import Finding, Rule, Severity, shown
from modelcar.signing.policy.licenses import LicenseRule

__all__ = ["CARD", "RULES", "license_findings", "licenses_in_card"]

CARD: Final = "README.md"
DENIED: Final = Rule(
    id="licence.denied",
    severity=Severity.FORBIDDEN,
    title="the policy does not allow this licence",
    why="Whoever ships the model is bound by its licence.",
    fix="Choose another model, or have the licence allowed.",
)
UNKNOWN: Final = Rule(
    id="licence.unknown",
    severity=Severity.UNVERIFIED,
    title="nothing says under which licence the model is",
    why="A policy asks for certain licences, and without any the author has kept all rights.",
    fix="Ask the author; write the licence into the front matter of README.md.",
)
DISAGREES: Final = Rule(
    id="licence.disagrees",
    severity=Severity.UNVERIFIED,
    title="the image names another licence than the model card in it",
    why="Policies go by what the image says of itself.",
    fix="Have the image built anew from the model as it is.",
)
RULES: Final = (DENIED, UNKNOWN, DISAGREES)


def license_findings(licences: Sequence[str], rules: Sequence[LicenseRule]) -> list[Finding]:
    """What `rules`, all of which must hold, say of a model under all of `licences`, which are SPDX expressions."""
    if rules and not licences:
        return [Finding(rule=UNKNOWN, path=CARD)]
    problems = [problem for rule in rules for each in licences if (problem := rule.shortcoming(each))]
    return [Finding(rule=DENIED, path=CARD, detail=shown(problem)[1:-1]) for problem in dict.fromkeys(problems)]


def licenses_in_card(card: bytes) -> tuple[str, ...]:
    """The licences that a model card names, as SPDX expressions."""
    return licenses_of(parse_card(card.decode(errors="replace")), {})
