"""The rule set as a whole: every rule says what it is, why it matters and what to do."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from modelcar.scanning.catalogue import FORMATS, RULES
from modelcar.scanning.findings import Rule
from modelcar.scanning.version import RULE_SET


def test_no_rule_is_there_twice() -> None:
    assert [name for name, count in Counter(rule.id for rule in RULES).items() if count > 1] == []


def test_no_format_is_there_twice() -> None:
    assert [name for name, count in Counter(each.name for each in FORMATS).items() if count > 1] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_reads_well(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9]+\.[a-z0-9]+(-[a-z0-9]+)*", rule.id)
    assert not rule.title.endswith(".")
    for sentence in (rule.why, rule.fix):
        assert sentence[0].isupper() or not sentence[0].isalpha(), sentence
        assert sentence.endswith("."), sentence


def test_the_version_is_one_that_policies_compare() -> None:
    assert re.fullmatch(r"20\d\d\.\d{1,2}\.\d+", RULE_SET.version)
