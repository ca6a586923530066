"""The command line in this process, with a store, a registry and a checkpoint of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from modelcar.cli import main
from modelcar.registry.session import Session
from modelcar.store import LocalStore
from registry_shim.testing import running_registry
from tests.support.checkpoints import make_checkpoint
from tests.support.signing import cheap_passwords
from tests.unit.cli.screens import Screen

__all__ = ["Complaint", "ModelcarCli", "Refusal", "as_complaint"]

Refusal = Callable[..., str]


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a command that failed said, without `modelcar: ` and `  hint: `."""

    line: str
    hint: str


class ModelcarCli:
    """`modelcar`, called in this process."""

    def __init__(self, home: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capture = capture

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.home)

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        self._capture.readouterr()
        status = main([*map(str, arguments)])
        out, err = self._capture.readouterr()
        return status, out, err

    def __call__(self, *arguments: str | Path) -> str:
        """The text that a command prints for people who do not look at a terminal."""
        status, out, err = self.run(*arguments)
        assert (status, err) == (0, "")
        return out

    def json(self, *arguments: str | Path) -> Any:
        """The document that a command prints with `--json`: one, on one line, and nothing besides."""
        out = self(*arguments, "--json")
        assert out.count("\n") == 1
        assert out.isascii()
        return json.loads(out)

    def refusal(self, status: int, *arguments: str | Path) -> Complaint:
        """The complaint of a command that must end with `status`."""
        actual, out, err = self.run(*arguments)
        assert (actual, out) == (status, ""), (actual, out, err)
        return as_complaint(err)


def as_complaint(err: str) -> Complaint:
    """Check the form of every failure: one line that says what, at most one that says what to do, and nothing raw."""
    lines = err.removesuffix("\n").split("\n")
    assert err.endswith("\n")
    assert 1 <= len(lines) <= 2, err
    assert all(line.isprintable() for line in lines), err
    assert lines[0].startswith("modelcar: "), err
    assert len(lines) == 1 or lines[1].startswith("  hint: "), err
    assert "internal error" not in err
    assert "Traceback" not in err
    message = lines[0].removeprefix("modelcar: ")
    assert message
    assert not message.endswith("."), "a line is no sentence"
    return Complaint(message, lines[1].removeprefix("  hint: ") if len(lines) == 2 else "")


@pytest.fixture(autouse=True)
def _cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap_passwords(monkeypatch)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the user's own is read or written."""
    home = tmp_path / "home"
    monkeypatch.setenv("MODELCAR_HOME", str(home))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "MODELCAR_DEBUG", "MODELCAR_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Session, "pause", lambda *_: None)  # retries need not wait here
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what survives a crash of the machine is tested elsewhere
    return home


@pytest.fixture
def modelcar(home: Path, capsys: pytest.CaptureFixture[str]) -> ModelcarCli:
    return ModelcarCli(home, capsys)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "150")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    screen = Screen()
    yield screen
    screen.close()


@pytest.fixture
def refusal(modelcar: ModelcarCli) -> Refusal:
    """All that is said by a command that must end with this status: of each piece of evidence, if it verifies any."""

    def refusal(status: int, *arguments: str | Path) -> str:
        actual, out, err = modelcar.run(*arguments)
        assert (actual, out) == (status, ""), (actual, out, err)
        assert "internal error" not in err
        return err

    return refusal


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    """The address of an embedded registry for all tests; each uses repositories of its own."""
    with running_registry() as address:
        yield address


@pytest.fixture
def ref(registry: str, request: pytest.FixtureRequest) -> str:
    """A name in a repository that only this test uses."""
    test = "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")
    return f"{registry}/{'-'.join(filter(None, test.split('-')))}/tiny:v1"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to read only."""
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model")


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint to change."""
    return Path(shutil.copytree(checkpoint, tmp_path / "model"))


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that any user may write to."""
    with TemporaryDirectory(prefix="mc-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Not root during the test: file modes count."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
