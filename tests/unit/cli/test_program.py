"""How the program ends: statuses, signals, pipes, defects."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from modelcar.cli import program
from modelcar.cli.interruptions import end_cleanly_on_signals
from modelcar.cli.program import run_program
from modelcar.errors import InvalidContent, ModelcarError, NotFound, SourceError, StorageError
from modelcar.layers.bytemap import ByteReader
from modelcar.registry.session import Session
from modelcar.store import Names
from tests.support.checkpoints import files_of
from tests.support.hub import FakeHub, Repo
from tests.unit.cli.conftest import ModelcarCli, as_complaint

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
NAME = "localhost:5000/acme/tiny:v1"


def run(group: click.Group, *arguments: str) -> int:
    return run_program(group, "modelcar", arguments)


def raising(error: BaseException) -> click.Group:
    @click.group()
    def group() -> None:
        pass

    @group.command()
    def act_now() -> None:
        raise error

    return group


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ModelcarError("all is lost"), 3, "modelcar: all is lost\n"),
        (StorageError("no room", hint="make some"), 3, "modelcar: no room\n  hint: make some\n"),
        (SourceError("odd"), 2, "modelcar: odd\n"),
        (NotFound("gone"), 2, "modelcar: gone\n"),
        (InvalidContent("false"), 1, "modelcar: false\n"),
        (PermissionError(13, "Permission denied", "/x"), 3, "modelcar: /x: Permission denied\n"),
        (OSError("without a number"), 3, "modelcar: without a number\n"),
        (EOFError(), 3, None),
        (ZeroDivisionError("1/0"), 3, None),
        (RecursionError("deep"), 3, None),
        (MemoryError(), 3, None),
        (click.UsageError("Odd\nlines."), 2, "modelcar: odd\\x0alines\n  hint: see `modelcar act-now --help`\n"),
        (click.exceptions.Exit(7), 7, ""),
        (BrokenPipeError(), 141, ""),
        (KeyboardInterrupt(), 130, "modelcar: interrupted; nothing half-written is visible\n"),
        (ModelcarError("a\nb\x1b[31m", hint="c\rd"), 3, "modelcar: a\\x0ab\\x1b[31m\n  hint: c\\x0dd\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_how_errors_end(
    error: BaseException,
    status: int,
    said: str | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MODELCAR_DEBUG", raising=False)
    assert run(raising(error), "act-now") == status
    out, err = capsys.readouterr()
    assert out == ""
    if said is not None:
        assert err == said
        return
    line, hint = err.splitlines()
    assert line == f"modelcar: internal error: {type(error).__name__}: {error}"
    assert "report" in hint


def test_a_defect_is_shown_to_those_who_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELCAR_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()), "act-now")


def test_a_complaint_that_nobody_hears_changes_no_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert run(raising(StorageError("no room")), "act-now") == 3
    monkeypatch.setattr(sys, "stdout", None)
    assert run(raising(KeyboardInterrupt()), "act-now") == 130


def test_on_a_terminal_an_interruption_begins_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "is_terminal", lambda _: True)
    assert run(raising(KeyboardInterrupt()), "act-now") == 130
    assert capsys.readouterr().err.startswith("\nmodelcar: interrupted")


def interrupt_once(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, number: int = signal.SIGINT) -> None:
    """Send this process `number` when `method` is called for the first time, from whatever thread calls it."""
    real = getattr(owner, method)
    sent: list[bool] = []

    def interrupted(*args: Any, **named: Any) -> Any:
        if not sent:
            sent.append(True)
            signal.raise_signal(number)
        return real(*args, **named)

    monkeypatch.setattr(owner, method, interrupted)


def assert_interrupted(modelcar: ModelcarCli, *command: str | Path) -> None:
    complaint = modelcar.refusal(130, *command)
    assert complaint.line == "interrupted; nothing half-written is visible"


@pytest.mark.parametrize(("owner", "method"), [(ByteReader, "readinto"), (Names, "put")])
def test_an_interrupted_build_leaves_nothing(
    modelcar: ModelcarCli, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, owner: type, method: str
) -> None:
    with monkeypatch.context() as patch:
        interrupt_once(patch, owner, method)
        assert_interrupted(modelcar, "build", checkpoint, "-t", NAME)
    assert modelcar.json("list") == []
    modelcar("gc")
    assert modelcar.json("gc") == {"removed": [], "freed": 0, "mounts": {"size": 0, "unused": 0, "freed": 0}}
    modelcar("build", checkpoint, "-t", NAME)


@pytest.mark.parametrize("verb", ["push", "pull", "pull into the store", "copy", "copy into a layout", "export"])
def test_an_interrupted_transfer_leaves_nothing(
    modelcar: ModelcarCli, checkpoint: Path, ref: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    digest = modelcar.json("build", checkpoint, "-t", ref)["digest"]
    if verb != "push":
        modelcar("push", ref)
    new, out = ref.replace("/tiny:v1", "/new:v1"), tmp_path / "out"
    if verb == "pull into the store":
        modelcar("rm", ref)
    commands: dict[str, list[str | Path]] = {
        "push": ["push", ref],
        "pull": ["pull", ref, "-o", out],
        "pull into the store": ["pull", ref],
        "copy": ["copy", ref, new],
        "copy into a layout": ["copy", ref, f"oci:{out}:v1"],
        "export": ["export", ref, "-o", out],
    }
    owner, method = (Names, "put") if verb == "export" else (Session, "once" if verb == "push" else "call")
    with monkeypatch.context() as patch:
        interrupt_once(patch, owner, method)
        assert_interrupted(modelcar, *commands[verb])
    if verb in ("push", "copy"):
        assert "404" in modelcar.refusal(3, "inspect", ref if verb == "push" else new, "--remote").line
    elif verb == "pull into the store":
        assert modelcar.json("list") == []
    elif verb == "pull":
        assert not out.exists()
    else:
        assert not out.exists() or "holds no image" in modelcar.refusal(2, "inspect", f"oci:{out}").line
        assert not out.exists() or not any((out / "ingest").glob("*"))
    assert modelcar.json(*commands[verb])["digest"] == digest


@pytest.fixture
def handlers() -> Iterator[None]:
    """What signals do is as before after the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    hook = sys.unraisablehook
    yield
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_other_ends_are_as_clean(
    modelcar: ModelcarCli, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, handlers: None, number: int
) -> None:
    end_cleanly_on_signals()
    with monkeypatch.context() as patch:
        interrupt_once(patch, Names, "put", number)
        assert "interrupted" in modelcar.refusal(128 + number, "build", checkpoint, "-t", NAME).line
    assert modelcar.json("list") == []


def test_who_hammers_ctrl_c_still_gets_one_line(
    modelcar: ModelcarCli, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, handlers: None
) -> None:
    end_cleanly_on_signals()
    say = program._say

    def interrupted_saying(text: str) -> None:
        signal.raise_signal(signal.SIGINT)
        say(text)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        interrupt_once(patch, Names, "put")
        patch.setattr(program, "_say", interrupted_saying)
        assert_interrupted(modelcar, "build", checkpoint, "-t", NAME)
    signal.raise_signal(signal.SIGINT)  # too late: the status is decided
    interrupt_once(monkeypatch, Names, "put")
    assert_interrupted(modelcar, "build", checkpoint, "-t", NAME)


def test_a_signal_that_finds_only_a_finalizer_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], handlers: None
) -> None:
    class Interrupted:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    @click.group()
    def group() -> None:
        pass

    @group.command()
    def work() -> None:
        Interrupted()
        threading.Event().wait(60)

    end_cleanly_on_signals()
    assert run(group, "work") == 128 + signal.SIGTERM
    assert as_complaint(capsys.readouterr().err).line.startswith("interrupted")


def test_a_signal_that_somebody_made_another_error_of_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], handlers: None
) -> None:
    monkeypatch.delenv("MODELCAR_DEBUG", raising=False)

    @click.group()
    def group() -> None:
        pass

    @group.command()
    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise SyntaxError("escapes are not supported") from None

    end_cleanly_on_signals()
    assert run(group, "work") == 128 + signal.SIGTERM
    assert as_complaint(capsys.readouterr().err).line.startswith("interrupted")
    assert run(raising(SyntaxError("a defect")), "act-now") == 3
    assert "internal error: SyntaxError: a defect" in capsys.readouterr().err


def test_what_is_to_be_ignored_stays_ignored(handlers: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_cleanly_on_signals()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "modelcar", *arguments]


@pytest.fixture
def built(modelcar: ModelcarCli, checkpoint: Path) -> None:
    """Something to list."""
    modelcar("build", checkpoint, "-t", NAME)


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["--help"], ["build", "--help"]], ids=" ".join)
def test_a_reader_that_has_seen_enough(built: None, arguments: list[str]) -> None:
    with subprocess.Popen(command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["manifests"]], ids=" ".join)
def test_an_answer_for_which_there_is_no_room(built: None, arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(*arguments), cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert as_complaint(done.stderr).line == "cannot write to standard output: No space left on device"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["build", "--help"]], ids=" ".join)
def test_help_for_which_there_is_no_room(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(*arguments), cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert as_complaint(done.stderr).line == "No space left on device"


def in_another_locale(*arguments: str) -> subprocess.CompletedProcess[str]:
    locale = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    return subprocess.run(command(*arguments), cwd=ROOT, env={**os.environ, **locale}, capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [["--help"], ["build", "-h"], ["--version"]])
def test_help_in_any_locale(arguments: list[str]) -> None:
    done = in_another_locale(*arguments)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_locale_in_which_names_of_files_would_be_others(tmp_path: Path) -> None:
    assert in_another_locale("pull", "a.b/c:v1", "-o", "--help").returncode == 3
    done = in_another_locale("plan", str(tmp_path))
    assert done.returncode == 3
    complaint = as_complaint(done.stderr)
    assert complaint.line == "the locale's encoding is not UTF-8, which names of files are in"
    assert complaint.hint == "set LC_ALL=C.UTF-8, or PYTHONUTF8=1"


def test_no_standard_streams_at_all(built: None) -> None:
    script = 'exec "$0" -m modelcar list >&- 2>&-'
    assert subprocess.run(["/bin/sh", "-c", script, sys.executable], cwd=ROOT).returncode == 0


def test_no_file_gets_the_number_of_a_closed_stream(home: Path, tmp_path: Path) -> None:
    """Or what programs that we start have to say would be written into it."""
    code = """
import os, sys
from modelcar import __main__
from modelcar import cli
def main():
    open(sys.argv[1], "w").write(" ".join(os.readlink(f"/proc/self/fd/{number}") for number in range(3)))
    return 7
cli.main = main
__main__.run()
"""
    script = 'exec "$0" -c "$1" "$2" <&- >&- 2>&-'
    said = tmp_path / "said"
    done = subprocess.run(["/bin/sh", "-c", script, sys.executable, code, str(said)], cwd=ROOT)
    assert (done.returncode, said.read_text()) == (7, "/dev/null /dev/null /dev/null")


def test_a_thread_that_an_interruption_left_waiting_does_not_keep_the_process() -> None:
    code = """
import threading
from modelcar import __main__, cli
__main__._PATIENCE = 0.5
def main():
    threading.Thread(target=threading.Event().wait).start()
    return 130
cli.main = main
__main__.run()
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 130


def test_a_terminal_that_lacks_the_letters(home: Path, tmp_path: Path) -> None:
    """The answer is spelled out rather than lost."""
    (tmp_path / "モデル").mkdir()
    (tmp_path / "モデル" / "重み.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    done = subprocess.run(
        command("plan", str(tmp_path / "モデル")),
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u91cd\\u307f.safetensors" in done.stdout


def test_progress_that_nobody_reads_stops_no_work(home: Path, checkpoint: Path, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.mkdir()
    (big / "model.bin").write_bytes(bytes(2_000_000))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command("build", str(big), "-t", NAME), cwd=ROOT, stdout=subprocess.PIPE, stderr=writer)
    os.close(writer)
    assert done.returncode == 0
    assert b"sha256:" in done.stdout


SPARED = {
    "cryptography", "nacl", "sigstore",  # for those who sign
    "httpcore", "httpcore2", "huggingface_hub.hf_api", "huggingface_hub.file_download",  # for those who download
    "fractions", "statistics", "jinja2", "rich", "obstore", "modelcar.ranks", "modelcar.lazy.download",
}  # fmt: skip


def test_build_starts_without_what_it_does_not_need() -> None:
    code = "import json, sys, modelcar.cli.verbs.build; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not (SPARED | {"huggingface_hub", "yaml"}) & set(json.loads(done.stdout))


def test_a_rerun_from_the_hub_does_without_most_of_its_client(home: Path, checkpoint: Path, tmp_path: Path) -> None:
    code = "import json, sys; from modelcar.cli import main; main(); print(json.dumps(list(sys.modules)))"
    words = ["build", "hf://org/name", "-t", NAME, "--quiet"]
    with FakeHub() as hub:
        hub.repos["org/name"] = Repo(dict(files_of(checkpoint)))
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "0",
        }
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", code, *words],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
    assert not SPARED & set(json.loads(done.stdout.splitlines()[-1]))
