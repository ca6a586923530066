"""What killed commands left in the spool goes; what living ones work with stays."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelcar.store import LocalStore
from modelcar.store.disk import lock
from modelcar.store.spool import hold_spool, sweep_spool
from tests.support.leaks import open_files


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    spool = tmp_path / "home" / "spool"
    for folder in ("modelcar-scan-abc", "passing-0123"):
        (spool / folder).mkdir(parents=True)
        (spool / folder / "shard").write_bytes(bytes(100_000))
    (spool / "member").write_bytes(bytes(100_000))
    return spool


def test_what_nobody_holds_goes(spool: Path) -> None:
    store = LocalStore(spool.parent)
    planned = store.collect(dry_run=True)
    assert planned.leftovers >= 300_000
    assert len(list(spool.iterdir())) == 3
    collected = store.collect()
    assert (collected.leftovers, collected.freed) == (planned.leftovers, planned.leftovers)
    assert list(spool.iterdir()) == []
    assert store.collect().freed == 0


def test_a_layer_on_its_way_stays_while_its_build_lives(spool: Path) -> None:
    with lock(spool / "passing-0123", exclusive=True):
        assert 200_000 <= sweep_spool(spool) < 300_000
        assert [path.name for path in spool.iterdir()] == ["passing-0123"]
    assert 100_000 <= sweep_spool(spool) < 200_000


@pytest.mark.slow
def test_a_scan_keeps_what_it_works_with_until_its_process_ends(spool: Path) -> None:
    program = f"import pathlib, modelcar.store.spool as s; s.hold_spool(pathlib.Path({str(spool)!r})); print(); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as scan:
        assert scan.stdout is not None
        scan.stdout.readline()
        sweep_spool(spool)
        assert {path.name for path in spool.iterdir()} == {"modelcar-scan-abc", "member"}
        scan.kill()
    assert sweep_spool(spool) >= 200_000
    assert list(spool.iterdir()) == []


def test_holding_twice_is_holding_once(spool: Path) -> None:
    hold_spool(spool)
    hold_spool(spool)
    sweep_spool(spool)
    assert (spool / "member").exists()


def test_what_was_held_and_is_gone_is_let_go_of(spool: Path) -> None:
    hold_spool(spool)
    shutil.rmtree(spool)
    spool.mkdir()
    hold_spool(spool)
    held = [what for _, what in open_files() if what.startswith(str(spool))]
    assert held == [str(spool)], "the old one is closed"
    (spool / "member").touch()
    sweep_spool(spool)
    assert (spool / "member").exists(), "the new one is held"


def test_no_spool_is_nothing_to_sweep(tmp_path: Path) -> None:
    assert sweep_spool(tmp_path / "none") == 0
