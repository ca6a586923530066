"""How much has to go."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.disk import Disk
from modelcar.errors import StorageError, UsageError
from registry_shim.space.budget import human, need
from registry_shim.space.settings import SpaceSettings

DISK = Disk(total=1000, free=400)


def settings(**values: float) -> SpaceSettings:
    return SpaceSettings(**{"min_free": 0, "high_percent": 100.0, "low_percent": 100.0, "budget_slack": 0.0, **values})  # type: ignore[arg-type]  # settings by their names


@pytest.mark.parametrize(
    ("values", "coming", "must", "want"),
    [
        ({}, 400, 0, 0),
        ({}, 401, 1, 1),
        ({"min_free": 100}, 350, 50, 50),
        ({"high_percent": 90.0, "low_percent": 70.0}, 300, 0, 0),  # at the mark is not above it
        ({"high_percent": 90.0, "low_percent": 70.0}, 301, 1, 201),
        ({"budget": 500}, 0, 0, 0),
        ({"budget": 500}, 1, 1, 1),
        ({"budget": 500, "budget_slack": 0.2}, 1, 1, 101),
        ({"budget": 500, "min_free": 350}, 100, 100, 100),
        ({"budget": 800, "budget_slack": 0.5, "min_free": 301}, 100, 1, 1),  # a bound that is kept wants nothing
    ],
)
def test_what_must_go_and_what_then_goes(values: dict[str, float], coming: int, must: int, want: int) -> None:
    found = need(settings(**values), DISK, 500, coming, ahead=True)
    assert (found.must, found.want) == (must, want)


def test_a_pull_may_pass_the_high_mark_and_makes_room_if_it_can() -> None:
    found = need(settings(high_percent=90.0, low_percent=70.0), DISK, 500, 301)
    assert (found.must, found.want) == (0, 201)


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        ({"budget": 100}, "the budget is 100 bytes"),
        ({"min_free": 1 << 20}, "1.0 MiB of the disk stay free (min_free)"),
        ({"high_percent": 10.0, "low_percent": 10.0}, "the disk may be 10 % full (high_percent)"),
    ],
)
def test_the_tightest_limit_is_named(values: dict[str, float], limit: str) -> None:
    assert need(settings(**values), DISK, 500, 0, ahead=True).limit == limit


@pytest.mark.parametrize(
    "values",
    [
        {"budget": -1},
        {"min_free": -1},
        {"budget_slack": 1.0},
        {"low_percent": 95.0},
        {"high_percent": 101.0},
        {"low_percent": 0.0},
        {"grace": -1.0},
        {"interval": 0.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="space: "):
        SpaceSettings(**values)  # type: ignore[arg-type]  # settings by their names


def test_a_real_disk(tmp_path: Path) -> None:
    disk = Disk.of(tmp_path)
    assert 0 < disk.free <= disk.total
    with pytest.raises(StorageError, match="cannot look at the file system"):
        Disk.of(tmp_path / "missing")


def test_sizes_for_people() -> None:
    assert [human(n) for n in (12, 2048, 3 << 20, 20 << 30)] == ["12 bytes", "2.0 KiB", "3.0 MiB", "20.0 GiB"]
