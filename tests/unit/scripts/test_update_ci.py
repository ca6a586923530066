"""One script, and no twin that drifts from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts import update_ci


def test_every_copy_is_as_the_original() -> None:
    assert update_ci.main(["--check"]) == 0


def test_actions_can_run_theirs() -> None:
    for path in update_ci.files():
        if path.suffix == ".sh":
            assert (update_ci.ROOT / path).stat().st_mode & 0o111


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in (".github/actions", "examples/ci"):
        shutil.copytree(update_ci.ROOT / folder, tmp_path / folder)
    monkeypatch.setattr(update_ci, "ROOT", tmp_path)
    monkeypatch.setattr(update_ci.files, "__defaults__", (tmp_path,))
    return tmp_path


@pytest.mark.parametrize("name", [".github/actions/package-model/package-model.sh", "examples/ci/tekton.yaml"])
def test_a_copy_that_drifted_is_found_and_mended(tree: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    copy = tree / name
    right = copy.read_text()
    copy.write_text(right.replace("set -eu", "set -e", 1))
    assert update_ci.main(["--check"]) == 1
    assert capsys.readouterr().err == f"{name} is not as examples/ci says; run `python -m scripts.update_ci`\n"
    assert update_ci.main([]) == 0
    assert copy.read_text() == right
    assert update_ci.main(["--check"]) == 0
