"""What may be chosen, and which rule a repository falls under."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelcar.cache.origin import Origin
from modelcar.errors import UsageError
from registry_shim.gate.rules import Rules
from registry_shim.gate.settings import GateRule, GateSettings, Mode, NodeScan, ScanDemand, Unmatched


def origin(name: str) -> Origin:
    registry, _, repository = name.partition("/")
    return Origin(registry=registry, repository=repository)


def rules(*images: str, **settings: Any) -> Rules:
    return Rules(GateSettings(rules=tuple(GateRule(images=i, mode=Mode.OFF) for i in images), **settings))


@pytest.mark.parametrize(
    ("images", "name", "matches"),
    [
        ("ghcr.io/org/**", "ghcr.io/org/llm", True),
        ("ghcr.io/org/**", "ghcr.io/org/deep/llm", True),
        ("ghcr.io/org/*", "ghcr.io/org/deep/llm", False),
        ("ghcr.io/org/llm", "ghcr.io/org/llm", True),
        ("ghcr.io/org/llm", "ghcr.io/org/llm2", False),
        ("ghcr.io/org/**", "ghcr.io/other/llm", False),
        ("ghcr.io/**", "GHCR.io:443/org/llm", True),
        ("localhost:5000/**", "localhost:5000/org/llm", True),
        ("index.docker.io/library/*", "docker.io/library/busybox", True),
        ("docker.io/library/busybox", "docker.io/library/busybox", True),
        ("*", "docker.io/library/busybox", True),
        ("**", "quay.io/a/b/c", True),
    ],
)
def test_globs_are_those_of_policies_over_repositories(images: str, name: str, matches: bool) -> None:
    assert (rules(images).of(origin(name)) is not None) is matches


def test_the_first_rule_that_matches_counts() -> None:
    found = Rules(
        GateSettings(
            rules=(
                GateRule(images="ghcr.io/org/trusted", mode=Mode.OFF),
                GateRule(images="ghcr.io/org/**", mode=Mode.WARN, scan=ScanDemand.NODE),
                GateRule(images="**", mode=Mode.ENFORCE, scan=ScanDemand.NODE),
            )
        )
    )
    names = ("ghcr.io/org/trusted", "ghcr.io/org/llm", "quay.io/a/b")
    assert [found.mode(origin(name)) for name in names] == [Mode.OFF, Mode.WARN, Mode.ENFORCE]


def test_what_no_rule_matches() -> None:
    assert rules("ghcr.io/**").refuses(origin("quay.io/a/b"))
    assert not rules("ghcr.io/**", unmatched=Unmatched.ALLOW).refuses(origin("quay.io/a/b"))
    assert not rules().refuses(origin("quay.io/a/b"))


def test_the_doctor_is_told_what_holds_for_a_registry() -> None:
    found = Rules(
        GateSettings(
            rules=(
                GateRule(images="ghcr.io/org/**", scan=ScanDemand.NODE),
                GateRule(images="quay.io/**", mode=Mode.OFF),
            )
        )
    )
    assert found.summary("ghcr.io") == "rules for ghcr.io: 1 enforce; repositories without a rule: refused"
    assert found.summary("docker.io") == "rules for docker.io: none; repositories without a rule: refused"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"images": "ghcr.io/org/llm:v1", "mode": Mode.OFF}, "names a tag or digest"),
        ({"images": "ghcr.io/org/llm@sha256:*", "mode": Mode.OFF}, "names a tag or digest"),
        ({"images": "ghcr.io/org/[a-z]", "mode": Mode.OFF}, "is not a glob"),
        ({"images": "**"}, "asks for nothing"),
        ({"images": "**", "formats": ("Safe Tensors",)}, "is not a format"),
        ({"images": "**", "max_bytes": -1}, "0 or more"),
        ({"images": "**", "scan": ScanDemand.ATTESTED}, "has no policies"),
    ],
)
def test_rules_that_make_no_sense(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        GateRule(**settings)


def test_other_settings_that_make_no_sense() -> None:
    for wrong in ({"at_once": 0}, {"seconds": 0}, {"memory": 1}, {"niceness": 20}, {"trusted_layers": ("sha256:1",)}):
        with pytest.raises(UsageError):
            NodeScan(**wrong)
    for wrong in ({"reload_seconds": 0}, {"valid_seconds": -1}, {"remembered": 0}):
        with pytest.raises(UsageError):
            GateSettings(**wrong)  # type: ignore[arg-type]  # settings by their names


def test_an_attested_verdict_needs_a_policy_that_names_the_scanner(tmp_path: Path) -> None:
    GateRule(images="**", scan=ScanDemand.ATTESTED, policies=(tmp_path,))
