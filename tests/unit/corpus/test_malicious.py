"""The malicious half of the corpus: large enough, complete, and truly malicious."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.corpus import Specimen, malicious
from tests.corpus.detonate import LOAD, ROOT, can_load, detonate
from tests.corpus.formats.pickles import stream
from tests.corpus.malicious.common import HARMLESS, pickled
from tests.corpus.specimen import MALICIOUS

SPECIMENS = malicious()
PROVABLE = [specimen for specimen in SPECIMENS if can_load(specimen)]

# Everything that the published advisories on scanners and loaders of models are about.
ADVISORIES = [
    "CVE-2024-34359",
    "CVE-2025-1550",
    "CVE-2025-1716",
    "CVE-2025-1889",
    "CVE-2025-1944",
    "CVE-2025-1945",
    "CVE-2025-8747",
    "CVE-2025-9905",
    "CVE-2025-9906",
    "CVE-2025-10155",
    "CVE-2025-10156",
    "CVE-2025-10157",
    "CVE-2026-5760",
    "CVE-2026-56315",
    "GHSA-vvpj-8cmc-gx39",
    "nullifAI",
    "modelscan#85",
    "modelscan#262",
    "modelscan#263",
]


def test_there_are_enough_of_every_kind() -> None:
    assert len(SPECIMENS) >= 60
    assert min(Counter(specimen.category for specimen in SPECIMENS).values()) >= 5


def test_names_are_unique_and_safe_in_a_path() -> None:
    names = [specimen.name for specimen in SPECIMENS]
    assert len(set(map(str.lower, names))) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) for name in names)


@pytest.mark.parametrize("advisory", ADVISORIES)
def test_every_advisory_is_there(advisory: str) -> None:
    assert any(specimen.reference == advisory for specimen in SPECIMENS)


def test_none_may_be_called_clean() -> None:
    assert not [specimen.name for specimen in SPECIMENS if "clean" in specimen.expected or not specimen.expected]


def test_they_are_small_and_the_same_every_time() -> None:
    again = {specimen.name: specimen.files for specimen in malicious()}
    assert all(again[specimen.name] == specimen.files for specimen in SPECIMENS)
    assert sum(len(content) for s in SPECIMENS for content in s.files.values() if isinstance(content, bytes)) < 10 << 20


def test_nothing_is_what_it_is_by_its_folder(tmp_path: Path) -> None:
    folder = SPECIMENS[0].write(tmp_path)
    assert folder == tmp_path / SPECIMENS[0].name
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == set(SPECIMENS[0].files)


FEW = ("pickle-protocol-0", "pickle-build-class", "pickle-GHSA-vvpj-8cmc-gx39", "npz-objects", "code-auto-map")


@pytest.mark.slow
@pytest.mark.parametrize("specimen", [s for s in PROVABLE if s.name in FEW], ids=lambda s: s.name)
def test_a_payload_runs_when_it_is_loaded(specimen: Specimen) -> None:
    assert detonate(specimen)


@pytest.mark.slow
@pytest.mark.parametrize("specimen", [s for s in PROVABLE if s.name not in FEW], ids=lambda s: s.name)
def test_every_payload_runs_when_it_is_loaded(specimen: Specimen) -> None:
    assert detonate(specimen)


def test_enough_can_be_proved_without_the_libraries_of_models() -> None:
    assert {s.name for s in PROVABLE} >= set(FEW)
    assert len(PROVABLE) >= 100


def test_whoever_must_be_called_malicious_mostly_has_a_proof() -> None:
    plain = [s for s in SPECIMENS if s.expected == MALICIOUS]
    assert len([s for s in plain if s.proof]) > len(plain) / 2


@pytest.mark.slow
def test_what_is_harmless_leaves_no_marker() -> None:
    assert not detonate(pickled("control", "none", "An empty dictionary", stream(2, HARMLESS)))


@pytest.mark.slow
def test_without_a_marker_to_make_a_payload_does_nothing(tmp_path: Path) -> None:
    specimen = next(s for s in SPECIMENS if s.name == "pickle-protocol-0")
    folder = specimen.write(tmp_path)
    done = subprocess.run(
        [*LOAD, "pickle", "model.pkl"], cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, timeout=60
    )
    assert done.returncode == 0
    assert [path.name for path in tmp_path.rglob("*")] == [specimen.name, "model.pkl"]
