"""The benign half of the corpus: large enough, unchanged since its libraries made it, and what loads cheaply loads."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load as load_safetensors

from tests.corpus import Specimen, benign, malicious
from tests.corpus.benign.made import KNOWN
from tests.corpus.make_fixtures import FIXTURES, sums
from tests.corpus.specimen import CLEAN, UNVERIFIED

SPECIMENS = benign()


def files(category: str, extension: str) -> list[tuple[str, bytes]]:
    found = [
        (f"{specimen.name}/{path}", content)
        for specimen in SPECIMENS
        if specimen.category == category
        for path, content in specimen.files.items()
        if path.endswith(extension) and isinstance(content, bytes)
    ]
    assert found
    return found


def test_there_are_enough() -> None:
    assert len(SPECIMENS) >= 40
    assert len([specimen for specimen in SPECIMENS if specimen.expected == CLEAN]) >= 30


def test_none_may_be_called_malicious() -> None:
    assert not [specimen.name for specimen in SPECIMENS if "malicious" in specimen.expected or not specimen.expected]


def test_what_only_code_can_load_may_not_be_called_clean() -> None:
    coded = ("sklearn-", "torchscript", "torch-module", "notebook-code", "custom-code")
    assert all(s.expected == UNVERIFIED for s in SPECIMENS if s.name.removeprefix("made-").startswith(coded))


def test_names_are_unique_over_both_halves() -> None:
    names = [specimen.name.lower() for specimen in (*SPECIMENS, *malicious())]
    assert len(set(names)) == len(names)


def test_the_fixtures_are_what_the_libraries_made() -> None:
    listed = dict(line.split("  ")[::-1] for line in (FIXTURES / "SHA256SUMS").read_text().splitlines())
    assert sums() == listed


def test_every_fixture_is_a_specimen() -> None:
    assert {path.name for path in FIXTURES.iterdir() if path.is_dir()} == set(KNOWN)


def test_the_fixtures_are_small_and_name_no_machine() -> None:
    contents = [path.read_bytes() for path in FIXTURES.rglob("*") if path.is_file()]
    assert sum(map(len, contents)) < 1_500_000
    for content in list(contents):
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                contents += [archive.read(name) for name in archive.namelist()]
    assert not [place for place in (b"/home/", b"/root/", b"/tmp/", b"/Users/") if any(place in c for c in contents)]


@pytest.mark.parametrize(
    ("name", "content"), files("numpy", ".npy"), ids=lambda value: value if isinstance(value, str) else ""
)
def test_arrays_load(name: str, content: bytes) -> None:
    array = np.load(io.BytesIO(content), allow_pickle="names.npy" in name, max_header_size=1 << 20)
    assert array.ndim <= 3


@pytest.mark.parametrize(
    ("name", "content"), files("numpy", ".pkl"), ids=lambda value: value if isinstance(value, str) else ""
)
def test_pickled_arrays_load(name: str, content: bytes) -> None:
    assert pickle.loads(content)  # noqa: S301  # made by numpy, and the checksums say so


def test_safetensors_load() -> None:
    """Those whose types numpy has."""
    known = [
        content
        for _, content in files("safetensors", ".safetensors")
        if b"F8_" not in content and b"BF16" not in content
    ]
    assert len(known) >= 3
    assert all(load_safetensors(content) for content in known)


@pytest.mark.parametrize("specimen", [s for s in SPECIMENS if s.category == "text and pictures"], ids=lambda s: s.name)
def test_configurations_are_json(specimen: Specimen) -> None:
    for path, content in specimen.files.items():
        assert isinstance(content, bytes)
        assert content
        if path.endswith(".json"):
            assert json.loads(content)
