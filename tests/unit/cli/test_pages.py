"""`inspect` and `diff` with --html, --markdown and --against: where the answer goes, and what is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.checkpoints import age, make_checkpoint
from tests.unit.cli.conftest import ModelcarCli

REF = "acme/tiny:v1"
TUNED = "acme/tiny:tuned"


@pytest.fixture
def built(modelcar: ModelcarCli, checkpoint: Path) -> ModelcarCli:
    modelcar("build", checkpoint, "-t", REF, "-q")
    return modelcar


@pytest.fixture
def both(built: ModelcarCli, checkpoint: Path, tmp_path: Path) -> ModelcarCli:
    tuned = Path(shutil.copytree(checkpoint, tmp_path / "tuned"))
    other = make_checkpoint(tmp_path / "other", seed="other")
    name = "model-00003-of-00003.safetensors"
    (tuned / name).write_bytes((other / name).read_bytes())
    age(tuned)
    built("build", tuned, "-t", TUNED, "-q")
    return built


def test_a_page_is_written_and_said_to_be(built: ModelcarCli, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("before")
    said = built("inspect", REF, "--html", page)
    assert said == f"wrote {page} ({-(-page.stat().st_size // 1024)} KiB)\n"
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    for expected in ("model-00001-of-00003.safetensors", "TinyForCausalLM", "Apache-2.0", "model.layers.*.weight"):
        assert expected in text
    assert [p.name for p in tmp_path.glob(".page.html*")] == []


def test_a_page_on_standard_output_is_nothing_but_a_page(built: ModelcarCli, tmp_path: Path) -> None:
    out = built("inspect", REF, "--html", "-")
    assert out.startswith("<!doctype html>")
    assert out.endswith("</html>")
    built("inspect", REF, "--html", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == out, "it is a function of the image"


def test_json_beside_a_page(built: ModelcarCli, tmp_path: Path) -> None:
    answer = built.json("inspect", REF, "--html", tmp_path / "page.html")
    assert answer == built.json("inspect", REF)
    assert (tmp_path / "page.html").exists()


def test_through_a_link(built: ModelcarCli, tmp_path: Path) -> None:
    (tmp_path / "link.html").symlink_to("real.html")
    built("inspect", REF, "--html", tmp_path / "link.html")
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "real.html").read_text().startswith("<!doctype html>")


def test_into_a_pipe(built: ModelcarCli, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    built("inspect", REF, "--html", pipe)
    reader.join()
    assert read[0].startswith(b"<!doctype html>")
    assert pipe.is_fifo()


def test_what_cannot_be_written(built: ModelcarCli, tmp_path: Path) -> None:
    complaint = built.refusal(2, "inspect", REF, "--html", tmp_path)
    assert complaint.line == f"cannot write the page to {tmp_path}: it is a folder"
    assert complaint.hint == f"name a file: {tmp_path / 'page.html'}"
    complaint = built.refusal(3, "inspect", REF, "--html", tmp_path / "none" / "page.html")
    assert complaint.line == f"cannot write {tmp_path / 'none' / 'page.html'}: there is no folder {tmp_path / 'none'}"
    assert built.refusal(2, "diff", REF, REF, "--html", tmp_path).line.endswith("it is a folder")


def test_a_write_that_fails_leaves_what_was_there(
    built: ModelcarCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    page.write_text("before")
    failing = OSError(28, "No space left on device")

    def full(_: int) -> None:
        raise failing

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in built.refusal(3, "inspect", REF, "--html", page).line
    assert page.read_text() == "before"
    assert [p.name for p in tmp_path.glob(".page.html*")] == []


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--html", "-", "--json"], "--html - and --json both want standard output"),
        (["--markdown", "--json"], "--markdown and another form both want standard output"),
        (["--markdown", "--html", "-"], "--markdown and another form both want standard output"),
        (["--tensors", "--html", "x.html"], "--tensors is a list of its own"),
        (["--tensors", "--against", "a:b"], "--tensors is a list of its own"),
    ],
)
def test_forms_that_do_not_go_together(built: ModelcarCli, options: list[str], line: str) -> None:
    assert built.refusal(2, "inspect", REF, *options).line == line


def test_a_folder_has_no_page(modelcar: ModelcarCli, checkpoint: Path, tmp_path: Path) -> None:
    assert modelcar.refusal(2, "inspect", checkpoint, "--html", tmp_path / "x.html").line.endswith("is no image")
    assert not (tmp_path / "x.html").exists()


def test_against_another_image(both: ModelcarCli, tmp_path: Path) -> None:
    answer = both.json("inspect", REF, "--against", TUNED)["against"]
    assert answer["name"] == f"docker.io/{TUNED}" or answer["name"] == TUNED
    layers = {x["digest"]: x["size"] for m in both.json("inspect", REF)["manifests"] for x in m["layers"]}
    assert answer["bytes"] == sum(layers.values())
    assert answer["sharedBytes"] == sum(layers[digest] for digest in answer["layers"])
    assert 0.5 < answer["sharedBytes"] / answer["bytes"] < 0.9
    text = both("inspect", REF, "--against", TUNED)
    assert "only here" in text
    both("inspect", REF, "--against", TUNED, "--html", tmp_path / "page.html")
    assert "Shared bytes" in (tmp_path / "page.html").read_text()
    assert "shared with" in both("inspect", REF, "--against", TUNED, "--markdown")


def test_against_itself_all_is_shared(built: ModelcarCli) -> None:
    answer = built.json("inspect", REF, "--against", REF)["against"]
    assert answer["sharedBytes"] == answer["bytes"]


def test_markdown(built: ModelcarCli, tmp_path: Path) -> None:
    out = built("inspect", REF, "--markdown")
    assert "| layer | size | share | sha256 | in |" in out
    assert "| BF16 | 3 | 300 kB |" in out
    status, beside, err = built.run("inspect", REF, "--markdown", "--html", tmp_path / "x.html")
    assert (status, beside) == (0, out), "a summary is no place for messages"
    assert err.startswith(f"wrote {tmp_path / 'x.html'}")


def test_what_was_signed_and_scanned_is_claimed(
    built: ModelcarCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "x")
    built("keygen", "-o", tmp_path / "scanner", "-q")
    built("scan", REF, "--key", tmp_path / "scanner.key", "-q")
    page = built("inspect", REF, "--html", "-")
    assert "is what a scan verdict claims, by the rules <bdi>modelcar " in page
    assert "<bdi>scan verdict</bdi>" in page
    assert "Scan verdict, claimed: **clean** modelcar" in built("inspect", REF, "--markdown")


def test_a_page_of_a_difference(both: ModelcarCli, checkpoint: Path, tmp_path: Path) -> None:
    page = tmp_path / "diff.html"
    status, out, err = both.run("diff", REF, TUNED, "--html", page)
    assert (status, err) == (1, "")
    assert out.startswith(f"wrote {page} (")
    text = page.read_text()
    assert "Layers that differ" in text
    assert "model-00003-of-00003.safetensors" in text
    both("diff", REF, REF, "--html", page)
    assert "They are the same model." in page.read_text()
    both.run("diff", checkpoint, REF, "--html", page)
    assert "Files" in page.read_text()
    assert "Layers" not in page.read_text(), "a folder has none"


@pytest.mark.slow
def test_who_wants_no_page_does_not_wait_for_what_makes_them() -> None:
    look = "import sys, modelcar.cli.verbs.inspect, modelcar.cli.verbs.diff; print('jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
