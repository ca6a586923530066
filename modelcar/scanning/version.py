"""The version of the rule set, which every verdict names."""

from __future__ import annotations

from typing import Final

from modelcar.signing.ruleset import RuleSet

__all__ = ["RULE_SET"]

# Raise it whenever a file may now get another verdict than before: year, month, number in that month.
RULE_SET: Final = RuleSet(name="modelcar", version="2026.11.2")
