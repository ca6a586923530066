"""Pods as they come and as they go. `tests.support.pods` says what is in a folder and how to write it anew."""

from __future__ import annotations

import jsonpatch
import pytest

from modelcar.admission.admit import admit
from modelcar.admission.patch import patch_of
from tests.support.pod_rules import validate_pod
from tests.support.pods import CALLER, CASES, FOLDER, Case

FILES = {"pod.yaml", "facts.yaml", "settings.yaml", "expected.yaml", "denied.txt"}
ADMITTED = [case for case in CASES if (case.folder / "expected.yaml").exists()]


def ids(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_pod_becomes_what_is_expected(case: Case) -> None:
    assert case.outcome() == case.expected()


@pytest.mark.parametrize("case", ADMITTED, ids=ids(ADMITTED))
def test_second_time_changes_nothing(case: Case) -> None:
    once = admit(case.pod(), case.resolver(), CALLER, case.settings())
    twice = admit(once.pod, case.resolver(), CALLER, case.settings())
    assert twice.pod is once.pod
    assert patch_of(once.pod, twice.pod) == []


@pytest.mark.parametrize("case", ADMITTED, ids=ids(ADMITTED))
def test_patch_makes_it_and_the_pod_that_came_is_not_touched(case: Case) -> None:
    pod = case.pod()
    outcome = admit(pod, case.resolver(), CALLER, case.settings())
    assert pod == case.pod()
    assert jsonpatch.apply_patch(pod, patch_of(pod, outcome.pod)) == outcome.pod


@pytest.mark.parametrize("case", ADMITTED, ids=ids(ADMITTED))
def test_kubernetes_takes_it(case: Case) -> None:
    outcome = admit(case.pod(), case.resolver(), CALLER, case.settings())
    validate_pod(outcome.pod, native_sidecars=case.settings().cluster.native_sidecars)


def test_every_file_belongs_to_a_case() -> None:
    folders = {case.folder for case in CASES}
    assert folders
    for path in FOLDER.rglob("*"):
        if path.is_file():
            assert path.parent in folders, f"{path.relative_to(FOLDER)} has no pod.yaml beside it"
            assert path.name in FILES, f"{path.relative_to(FOLDER)} is read by nobody"
