"""The shell's publisher, run for real by the shells that images have. `/models` is another folder here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from modelcar.admission.facts import Publisher
from modelcar.admission.rewrite.publishers import check_command, publish_command, ready_command, ready_hook
from modelcar.admission.settings import Link

pytestmark = pytest.mark.slow

SHELLS = [["sh"], ["bash", "--posix"], pytest.param(["busybox", "sh"], marks=pytest.mark.debian("busybox"))]
Publish = Callable[[Path, Link], "subprocess.Popen[str]"]


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    words: list[str] = request.param
    return words


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "image's" / "models"
    for name in ("config.json", "onnx/model.onnx", "a b/c d/deep.bin", ".hidden", "..odd", "-dash"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (folder / "empty").mkdir()
    (folder / "alias.json").symlink_to("config.json")
    return folder


def here(command: list[str], shell: list[str], model: Path) -> list[str]:
    """`command` as a kubelet would leave it, with this shell and this model."""
    assert command[:2] == ["sh", "-c"]
    assert not any("$(" in word or "$$" in word for word in command), "a kubelet would expand it"
    return [*shell, "-c", command[2].replace("/models", "$MODEL"), *command[3:]]


@pytest.fixture
def publish(shell: list[str], model: Path) -> Iterator[Publish]:
    running: list[subprocess.Popen[str]] = []

    def start(to: Path, link: Link) -> subprocess.Popen[str]:
        command = here(publish_command(Publisher.SHELL, str(to), link), shell, model)
        process = subprocess.Popen(
            command, env=environment(model), text=True, stderr=subprocess.PIPE, start_new_session=True
        )
        running.append(process)
        return process

    yield start
    for process in running:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def environment(model: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "MODEL": str(model)}


def run(command: list[str], shell: list[str], model: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        here(command, shell, model), env=environment(model), capture_output=True, text=True, timeout=30
    )


def wait_until_ready(to: Path, link: Link, shell: list[str], model: Path) -> None:
    done = run(ready_hook(Publisher.SHELL, str(to), link), shell, model)
    assert done.returncode == 0, done.stderr


def catches(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def target(link: Path) -> str:
    return str(link.readlink())


def files_below(folder: Path) -> dict[str, str]:
    """As `os.walk` sees them, which does not follow folder links."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where) / name
            if not name.startswith(".modelcar"):
                found[str(path.relative_to(folder))] = path.read_text()
    return found


def test_farm_shows_every_file_in_real_folders(publish: Publish, shell: list[str], model: Path, tmp_path: Path) -> None:
    to = tmp_path / 'it\'s a "farm"; $x'
    to.mkdir()
    process = publish(to, Link.FARM)
    wait_until_ready(to, Link.FARM, shell, model)
    assert files_below(to) == files_below(model)
    assert target(to / ".modelcar") == f"/proc/{process.pid}/root{model}"
    assert target(to / "onnx" / "model.onnx") == "../.modelcar/onnx/model.onnx"
    assert not (to / ".modelcar.new").is_symlink()


def test_directory_is_one_link(publish: Publish, shell: list[str], model: Path, tmp_path: Path) -> None:
    to = tmp_path / "links" / "llm"
    to.parent.mkdir()
    process = publish(to, Link.DIRECTORY)
    wait_until_ready(to, Link.DIRECTORY, shell, model)
    assert target(to) == f"/proc/{process.pid}/root{model}"
    assert (to / "config.json").read_text() == "config.json"
    assert list(to.parent.iterdir()) == [to]


@pytest.mark.parametrize("link", Link)
def test_restart_moves_the_link_and_never_goes_into_it(
    publish: Publish, shell: list[str], model: Path, tmp_path: Path, link: Link
) -> None:
    to = tmp_path / "volume" / "llm"
    to.mkdir(parents=True) if link is Link.FARM else to.parent.mkdir()
    first = publish(to, link)
    wait_until_ready(to, link, shell, model)
    before = files_below(model)
    second = publish(to, link)
    where = to / ".modelcar" if link is Link.FARM else to
    deadline = time.monotonic() + 30
    while target(where) != f"/proc/{second.pid}/root{model}":
        assert time.monotonic() < deadline, "the link still names the first"
        time.sleep(0.01)
    first.kill()
    first.wait()
    assert (to / "config.json").read_text() == "config.json"
    assert files_below(model) == before


def test_term_ends_it_at_once(publish: Publish, shell: list[str], model: Path, tmp_path: Path) -> None:
    process = publish(tmp_path / "llm", Link.DIRECTORY)
    wait_until_ready(tmp_path / "llm", Link.DIRECTORY, shell, model)
    while not catches(process.pid, signal.SIGTERM):  # the trap is set right after the link
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


def test_image_without_model_fails_with_a_line(publish: Publish, shell: list[str], model: Path, tmp_path: Path) -> None:
    shutil.rmtree(model)
    model.mkdir()
    process = publish(tmp_path / "llm", Link.DIRECTORY)
    assert process.wait(timeout=30) == 1
    assert process.stderr is not None
    assert process.stderr.read().startswith("modelcar: this image has no model")
    assert not (tmp_path / "llm").is_symlink()


@pytest.mark.parametrize("link", Link)
def test_probe_and_check_tell_a_dead_publisher(
    publish: Publish, shell: list[str], model: Path, tmp_path: Path, link: Link
) -> None:
    to = tmp_path / "llm"
    if link is Link.FARM:
        to.mkdir()
    questions = [ready_command(Publisher.SHELL, str(to), link), check_command(Publisher.SHELL, str(to), link)]
    assert [run(question, shell, model).returncode for question in questions] == [1, 1], "nothing is published yet"
    process = publish(to, link)
    wait_until_ready(to, link, shell, model)
    assert [run(question, shell, model).returncode for question in questions] == [0, 0]
    process.kill()
    process.wait()
    assert [run(question, shell, model).returncode for question in questions] == [1, 1]


def test_check_names_the_file_that_it_cannot_read(
    publish: Publish, shell: list[str], model: Path, tmp_path: Path
) -> None:
    (model / "gone.json").symlink_to("nowhere")
    publish(tmp_path / "llm", Link.DIRECTORY)
    wait_until_ready(tmp_path / "llm", Link.DIRECTORY, shell, model)
    done = run(check_command(Publisher.SHELL, str(tmp_path / "llm"), Link.DIRECTORY), shell, model)
    assert done.returncode == 1
    assert "cannot read" in done.stderr
    assert "gone.json" in done.stderr
