"""Every format that is known and every rule that can apply: the rule set, whose version a verdict names."""

from __future__ import annotations

from typing import Final

from modelcar.scanning import dispatch, image_rules
from modelcar.scanning.filescan import Format
from modelcar.scanning.findings import Rule
from modelcar.scanning.formats import archives, ggufs, safetensors
from modelcar.scanning.formats.numpys import scan as numpys
from modelcar.scanning.formats.zips import scan as zips
from modelcar.signing.ruleset import RuleSet

__all__ = ["FORMATS", "RULES", "RULE_SET"]

# Raise it whenever a file may now get another verdict than before: year, month, number in that month.
RULE_SET: Final = RuleSet(name="modelcar", version="2026.11.1")

FORMATS: Final[tuple[Format, ...]] = (
    *safetensors.FORMATS,
    *ggufs.FORMATS,
    *zips.FORMATS,
    *numpys.FORMATS,
)
RULES: Final[tuple[Rule, ...]] = (
    *dispatch.RULES,
    *image_rules.RULES,
    *safetensors.RULES,
    *ggufs.RULES,
    *archives.RULES,
    *zips.RULES,
    *numpys.RULES,
)
