"""Progress: bars on a terminal, a line for each large task elsewhere, silence when that is asked for."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modelcar.cli.output import Output
from modelcar.cli.progress import progress
from modelcar.oci import Digest
from modelcar.progress import SILENT
from tests.support.checkpoints import make_checkpoint
from tests.unit.cli.conftest import ModelcarCli
from tests.unit.cli.screens import MB, Screen

ROOT = Path(__file__).parents[3]


@contextmanager
def drawn(screen: Screen, monkeypatch: pytest.MonkeyPatch, **asked: bool) -> Iterator[Any]:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", screen.stream)
        with progress(Output(**{"as_json": False, "quiet": False, **asked}), "push") as report:
            yield report


def test_a_bar_for_every_task_and_one_for_all(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    with drawn(screen, monkeypatch) as report:
        report.expect(10 * MB)
        report.start("a", "first.safetensors", 4 * MB)
        for _ in range(3):
            time.sleep(0.02)  # rates need some time to be counted in
            report.advance("a", MB)
        report._bars.refresh()
    text = screen.text()
    rate_and_time_left = r"\d+\.\d MB/s +\d\d:\d\d"
    assert re.search(rf"^push, in all +━.* 3\.0/10\.0 MB +{rate_and_time_left}", text, re.MULTILINE)
    assert re.search(rf"^first\.safetensors +━.* 3\.0/4\.0 MB +{rate_and_time_left}", text, re.MULTILINE)


def test_what_need_not_move_is_not_counted_as_moved(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    with drawn(screen, monkeypatch) as report:
        report.expect(10 * MB)
        report.start("a", "first", 4 * MB)
        report.finish("a", "exists")
        report.start("b", "second", 6 * MB)
        report.advance("b", 2 * MB)
        report._bars.refresh()
        total = report._bars.tasks[0]
        assert (total.completed, total.total) == (2 * MB, 6 * MB)
        report.advance("b", -MB)  # a transfer that has to repeat some
        report.advance("b", 5 * MB)
        report.finish("b")
        assert (total.completed, total.total) == (6 * MB, 6 * MB)
    text = screen.text()
    assert re.search(r"first .*4\.0/4\.0 MB .*exists", text)


@pytest.mark.slow
def test_the_picture_fits_a_screen(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    with drawn(screen, monkeypatch) as report:
        report.expect(100 * MB)
        for i in range(100):
            report.start(str(i), f"shard {i}", MB)
            report.finish(str(i))
            assert len(report._bars.tasks) <= 10
        assert [task.description for task in report._bars.tasks][-1] == "shard 99"


def test_what_is_tiny_is_counted_without_a_bar(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    with drawn(screen, monkeypatch) as report:
        report.start("weights", "weights", MB)
        for i in range(20):
            report.start(str(i), f"signature {i}", 153)
            report.advance(str(i), 153)
            report.finish(str(i))
        total = report._bars.tasks[0]
        assert (total.completed, total.total) == (20 * 153, MB + 20 * 153)
    text = screen.text()
    assert "weights" in text
    assert "signature" not in text


def test_long_and_hostile_labels(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    with drawn(screen, monkeypatch) as report:
        report.start("a", f"{'x' * 100}-00001-of-00099.safetensors", MB)
        report.start("b", "[bold]\x1b]0;title\x07\x9b2J", MB)
        report.finish("b", "\x1b[31mred")
        report._bars.refresh()
    text = screen.text()
    assert b"\x1b]0;" not in screen.raw
    assert re.search(r"^x+…-00001-of-00099\.safetensors ", text, re.MULTILINE)
    assert "[bold]\\x1b]0;title\\x07\\x9b2J" in text
    assert "\\x1b[31mred" in text


def test_tasks_of_many_threads(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    with drawn(screen, monkeypatch) as report:

        def work(name: int) -> None:
            for i in range(5):
                key = f"{name}.{i}"
                report.start(key, key, 10)
                for _ in range(10):
                    report.advance(key, 1)
                report.finish(key)

        report.expect(8 * 5 * 10)
        threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        total = report._bars.tasks[0]
        assert total.completed == total.total == 8 * 5 * 10


def test_nothing_is_drawn_where_nothing_is_to_be_done(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    with drawn(screen, monkeypatch):
        pass
    assert screen.text() == ""


@pytest.mark.parametrize("asked", [{"quiet": True}, {"as_json": True}], ids=str)
def test_silence_is_kept(screen: Screen, monkeypatch: pytest.MonkeyPatch, asked: dict[str, bool]) -> None:
    with drawn(screen, monkeypatch, **asked) as report:
        assert report is SILENT


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(Output(as_json=False, quiet=False), "push") as report:
        report.expect(30 * MB)
        report.start("a", "large\n", 20 * MB)
        report.advance("a", 20 * MB)
        report.finish("a")
        report.start("b", "there", 9 * MB)
        report.finish("b", "exists")
        report.start("c", "small", MB)
        report.finish("c")
        report.finish("never started")
    out, err = capsys.readouterr()
    first, second = err.splitlines()
    assert out == ""
    assert re.fullmatch(r"push large\\x0a \(20\.0 MB\): \d+\.\d s, .*/s", first)
    assert second == "push there (9.0 MB): exists"


def test_lines_where_nothing_can_be_redrawn(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with drawn(screen, monkeypatch) as report:
        report.start("a", "large", 20 * MB)
        report.finish("a", "exists")
    assert screen.text().split() == ["push", "large", "(20.0", "MB):", "exists"]


def test_without_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with progress(Output(as_json=False, quiet=False), "push") as report:
        report.start("a", "large", 20 * MB)
        report.finish("a")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "bars", "table"), [([], True, True), (["--quiet"], False, True), (["--json"], False, False)], ids=str
)
def test_a_command_on_a_terminal(
    modelcar: ModelcarCli, checkpoint: Path, screen: Screen, options: list[str], bars: bool, table: bool
) -> None:
    command = [sys.executable, "-m", "modelcar", "build", str(checkpoint), "-t", "acme/tiny:v1", *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=screen.slave, text=True)
    assert done.returncode == 0
    text = screen.text()
    assert ("hash, in all" in text) == bars
    assert ("model-00003-of-00003.safetensors" in text) == bars
    assert bool(text.strip()) == bars
    assert done.stdout.startswith("layer ") == table
    assert "\x1b" not in done.stdout


def test_blobs_are_called_by_the_names_of_their_shards(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    labels: dict[Digest, str] = {}
    digest = Digest.of(b"shard")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", screen.stream)
        with progress(Output(as_json=False, quiet=False), "push", labels) as report:
            labels[digest] = "model-00001-of-00002.safetensors\x1b"
            report.start(str(digest), "sha256:0123", MB)
            report.start("else", "something else", MB)
    text = screen.text()
    assert "model-00001-of-00002.safetensors\\x1b" in text
    assert "something else" in text
    assert "sha256:0123" not in text


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["push", "pull", "export"])
def test_a_transfer_of_a_large_shard_names_it(modelcar: ModelcarCli, ref: str, tmp_path: Path, verb: str) -> None:
    folder = make_checkpoint(tmp_path / "model", shards=1, elements=600_000)
    modelcar("build", folder, "-t", ref, "--quiet")
    if verb == "pull":
        modelcar("push", ref, "--quiet")
    target = [] if verb == "push" else ["-o", str(tmp_path / "out")]
    status, _, err = modelcar.run(verb, ref, *target)
    assert status == 0
    assert err.startswith(f"{verb} model-00001-of-00001.safetensors (1.2 MB): ")
    assert err.count("\n") == 1
