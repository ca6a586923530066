"""Who may sign: exactly one subject and one issuer, matched from end to end."""

from __future__ import annotations

import pytest

from modelcar.errors import UsageError
from modelcar.signing.keyless.identity import CertificateIdentity, IdentityRule

WORKFLOW = "https://github.com/acme/models/.github/workflows/package.yml@refs/heads/main"
GITHUB = "https://token.actions.githubusercontent.com"


def matches(rule: IdentityRule, subject: str, issuer: str = GITHUB) -> bool:
    return rule.mismatch(CertificateIdentity(subject=subject, issuer=issuer)) is None


@pytest.mark.parametrize(
    "expression",
    [
        r"https://github\.com/acme/.*",
        r"^https://github\.com/acme/models/\.github/workflows/[a-z]+\.yml@refs/heads/main$",
        r"nobody|https://github\.com/acme/.+",
        r"https://(\w|[-./:@])+",
        ".*",
    ],
)
def test_expressions_match_the_whole_subject(expression: str) -> None:
    assert matches(IdentityRule(subject_regexp=expression, issuer=GITHUB), WORKFLOW)


@pytest.mark.parametrize(
    ("rule", "subject"),
    [
        ({"subject": "ci@acme.example"}, "ci@acme.example.evil.org"),
        ({"subject": "ci@acme.example"}, "xci@acme.example"),
        ({"subject": "ci@acme.example"}, "CI@acme.example"),
        ({"subject": "ci@acme.example"}, "ci@acmeXexample"),
        ({"subject": "ci@acme.example"}, "ci@\u0430cme.example"),
        ({"subject": ".*"}, "ci@acme.example"),
        ({"subject_regexp": r"ci@acme\.example"}, "ci@acme.example.evil.org"),
        ({"subject_regexp": r"ci@acme\.example"}, "evil-ci@acme.example"),
        ({"subject_regexp": r"ci@acme\.example$"}, "ci@acme.example\n"),
        ({"subject_regexp": r"^ci@acme\.example$"}, "x\nci@acme.example"),
        ({"subject_regexp": "https://github.com/acme/"}, "https://github.com/acme/evil"),
        ({"subject_regexp": r"^a@acme\.example|b@acme\.example$"}, "a@acme.example.evil.org"),
        ({"subject_regexp": r"^a@acme\.example|b@acme\.example$"}, "evil-b@acme.example"),
        ({"subject_regexp": r"release-\d+@acme\.example"}, "release-\u0661@acme.example"),
        ({"subject_regexp": r"\w+@acme\.example"}, "\u0430dmin@acme.example"),
    ],
)
def test_look_alikes_are_others(rule: dict[str, str], subject: str) -> None:
    assert not matches(IdentityRule(issuer=GITHUB, **rule), subject)


@pytest.mark.parametrize(
    "issuer", ["https://token.actions.githubusercontent.com.evil.org", "http://token.actions.githubusercontent.com", ""]
)
def test_the_issuer_counts_as_much(issuer: str) -> None:
    for rule in (
        IdentityRule(subject=WORKFLOW, issuer=GITHUB),
        IdentityRule(subject=WORKFLOW, issuer_regexp=r"https://token\.actions\.githubusercontent\.com"),
    ):
        assert not matches(rule, WORKFLOW, issuer)
        assert matches(rule, WORKFLOW, GITHUB)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subject": "a"},
        {"issuer": "a"},
        {"subject": "a", "subject_regexp": "a", "issuer": "b"},
        {"subject": "", "issuer": "b"},
        {"subject_regexp": "", "issuer": "b"},
        {"subject": "a", "issuer": ""},
        {"subject_regexp": "(", "issuer": "b"},
        {"subject": "a", "issuer_regexp": "*"},
    ],
)
def test_half_a_rule_is_none(options: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        IdentityRule(**options)


def test_an_expression_cannot_be_made_to_run_for_ever() -> None:
    """With a backtracking engine this would not end."""
    assert not matches(IdentityRule(subject_regexp=r"(a+)+@acme\.example", issuer=GITHUB), "a" * 4000 + "!")
