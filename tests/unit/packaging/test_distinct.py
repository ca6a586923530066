"""Two files that one file system tells apart and another does not."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path
from threading import Barrier, Thread

import pytest

from modelcar.errors import UsageError
from modelcar.packaging.distinct import DistinctPaths, require_distinct

FORMS = ("caf\u00e9", "cafe\u0301")


@pytest.fixture
def ignores_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS does: a name that differs from one that is there in case or form only is that one."""
    lexists = os.path.lexists

    def found(path: Path) -> bool:
        return lexists(path) or any(path.name.upper() == other.name.upper() for other in path.parent.iterdir())

    monkeypatch.setattr("modelcar.packaging.distinct.os.path.lexists", found)


@pytest.mark.parametrize("paths", [("A.txt", "a.txt"), ("x/A", "x/a"), ("Dir/x", "dir/y"), FORMS])
def test_a_file_system_that_tells_them_apart(tmp_path: Path, paths: tuple[str, str]) -> None:
    require_distinct(paths, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("ignores_case")
@pytest.mark.parametrize("paths", [("A.txt", "a.txt"), ("x/A", "x/a"), ("Dir/x", "dir/y"), ("a/b/C/d", "a/b/c")])
def test_one_that_does_not(tmp_path: Path, paths: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=r"'.*' and '.*' of the image are one file here: this file system ignores"):
        require_distinct(paths, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("ignores_case")
def test_what_is_alike_only_in_part(tmp_path: Path) -> None:
    require_distinct(["x/a", "y/A", "x/b", "a", "x/a", *FORMS], tmp_path)  # this one tells forms apart


@pytest.mark.usefixtures("ignores_case")
def test_of_two_threads_one_is_told(tmp_path: Path) -> None:
    for _ in range(50):
        distinct, start, told = DistinctPaths(tmp_path), Barrier(2), []

        def add(name: str, distinct: DistinctPaths = distinct, start: Barrier = start) -> None:
            start.wait()
            try:
                distinct.add(name)
            except UsageError:
                told.append(name)  # noqa: B023  # the thread ends within its round

        threads = [Thread(target=add, args=[name]) for name in "Aa"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert told


def test_names_made_to_be_many_are_not_tried_each_with_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(DistinctPaths, "_are_one", lambda _self, *pair: tried.append(pair))
    names = ["".join(letters) for letters in product(*("aA" for _ in range(9)))]
    require_distinct(names, tmp_path)
    assert len(tried) < 16 * len(names)
