"""What the looks come to, on machines that lack things, and that no secret is in what they say."""

from __future__ import annotations

import base64
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from modelcar.doctor import engines, kernel, machine
from modelcar.doctor.engines import look_at_engines
from modelcar.doctor.finding import Finding, Level, looked, ok
from modelcar.doctor.kernel import look_at_kernel
from modelcar.doctor.logins import look_at_logins
from modelcar.doctor.machine import look_at_folders, look_at_python
from modelcar.doctor.registries import look_at_registry
from modelcar.errors import InvalidReference, StorageError
from modelcar.registry import ClientSettings
from registry_shim.testing import running_registry

SECRET = "hunter2-very-secret"


def said(findings: Iterable[Finding]) -> dict[str, Finding]:
    found = list(findings)
    assert all(f.message and "\n" not in f.message for f in found)
    assert SECRET not in repr(found)
    return {f.subject: f for f in found}


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path / "config.json"


def auth(secret: str = SECRET) -> str:
    return base64.b64encode(f"me:{secret}".encode()).decode()


def helper(folder: Path, name: str, body: str) -> None:
    path = folder / "bin" / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.mark.slow
def test_logins_are_named_by_registry_and_place(docker_config: Path, tmp_path: Path) -> None:
    helper(tmp_path, "works", f"""echo '{{"Username":"me","Secret":"{SECRET}"}}'""")
    helper(tmp_path, "breaks", f"echo {SECRET}; exit 1")
    content = {
        "auths": {
            "https://index.docker.io/v1/": {"auth": auth()},
            "odd.example": {"auth": "!"},
            "f.example/team": {"auth": auth()},
        },
        "credHelpers": {"a.example": "works", "b.example": "breaks", "c.example": "absent"},
    }
    docker_config.write_text(json.dumps(content))
    docker_config.chmod(0o644)
    found = said(look_at_logins())
    assert {name: f.level for name, f in found.items()} == {
        "logins": Level.NOTE,
        "login docker.io": Level.OK,
        "login odd.example": Level.PROBLEM,
        "login f.example/team": Level.OK,
        "login a.example": Level.OK,
        "login b.example": Level.PROBLEM,
        "login c.example": Level.PROBLEM,
    }
    assert found["logins"].hint == f"chmod 600 {docker_config}"
    assert "not installed" in found["login c.example"].message
    assert "docker-credential-works" in found["login a.example"].message


@pytest.mark.parametrize(
    ("left", "level", "words"),
    [(-10, Level.PROBLEM, "has expired"), (600, Level.NOTE, "expires in"), (90_000, Level.OK, "expires in 25 h")],
)
def test_a_token_that_says_when_it_ends(docker_config: Path, left: float, level: Level, words: str) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + left}).encode()).decode().rstrip("=")
    docker_config.write_text(json.dumps({"auths": {"r.example": {"auth": auth(f"{SECRET}.{claims}.x")}}}))
    docker_config.chmod(0o600)
    found = said(look_at_logins())
    assert found["login r.example"].level is level
    assert words in found["login r.example"].message


@pytest.mark.parametrize("content", ["{", "[]", '{"auths": 3}', '{"credHelpers": []}', ""])
def test_files_of_logins_that_are_damaged(docker_config: Path, content: str) -> None:
    docker_config.write_text(content)
    assert said(look_at_logins())["logins"].level in (Level.PROBLEM, Level.OK)


def test_nobody_is_logged_in(docker_config: Path) -> None:
    assert said(look_at_logins())["logins"].level is Level.NOTE


def test_a_machine_without_engines(docker_config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engines, "docker_socket", lambda: f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr(engines, "_CONTAINERD", tmp_path / "none.sock")
    found = said(look_at_engines())
    assert {name: (f.level, f.message) for name, f in found.items()} == dict.fromkeys(
        ("docker", "podman", "containerd", "skopeo"), (Level.NOTE, "not here")
    )


@pytest.mark.slow
def test_engines_that_do_not_work(docker_config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, body in {"podman": "echo 'cannot clone: no' >&2; exit 125", "skopeo": "exit 1", "docker": ""}.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    found = said(look_at_engines())
    assert found["podman"].message == "podman does not work here: cannot clone: no"
    assert found["skopeo"].message == "is installed, and does not run"
    assert found["docker"].message == "docker does not answer: No such file or directory"
    assert found["docker"].hint == f"looked at unix://{tmp_path}/none.sock"


def test_a_kernel_that_lets_us_do_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("not allowed")

    (tmp_path / "limit").write_text("0\n")
    monkeypatch.setattr(kernel, "_FUSE", tmp_path / "fuse")
    monkeypatch.setattr("modelcar.doctor.kernel.Group.create", refuse)
    monkeypatch.setattr(kernel, "try_out", refuse)
    monkeypatch.setattr(kernel, "_NAMESPACES", {tmp_path / "limit": "0", tmp_path / "none": "1"})
    found = said(look_at_kernel(tmp_path / "not" / "there"))
    assert {name for name, f in found.items() if f.level is Level.NOTE} == {
        "FUSE",
        "pre-content events",
        "EROFS",
        "user namespaces",
    }
    assert not [f for f in found.values() if f.level is Level.PROBLEM], "models can be built and pushed all the same"


def test_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELCAR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELCAR_OBJECTS_CACHE", str(tmp_path / "cache"))
    found = said(look_at_folders())
    assert found["local store"].level is Level.OK
    assert not (tmp_path / "home").exists(), "looking makes nothing"
    monkeypatch.setattr(machine, "_LITTLE", 1 << 62)
    assert said(look_at_folders())["local store"].level is Level.PROBLEM
    (tmp_path / "home").write_text("a file")
    assert "is not a folder" in said(look_at_folders())["local store"].message


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes somebody who may not write")
def test_a_folder_that_may_not_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELCAR_HOME", "/proc/1/home")
    assert said(look_at_folders())["local store"].level is Level.PROBLEM


def test_no_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose root is read-only."""
    assert said(look_at_folders())["temporary files"].message == tempfile.gettempdir()
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/1"])
    found = said(look_at_folders())["temporary files"]
    assert found.level is Level.PROBLEM
    assert "/proc/1" in found.message


def test_a_locale_that_lacks_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    class Latin:
        encoding = "iso8859-1"

    monkeypatch.setattr("sys.stdout", Latin())
    assert said(look_at_python())["locale"].level is Level.NOTE


@pytest.mark.slow
def test_a_registry_that_answers_and_one_that_does_not() -> None:
    with running_registry() as address:
        found = list(look_at_registry(address, ClientSettings()))
        assert [f.level for f in found] == [Level.OK] * 3
        assert "takes anybody" in found[0].message
        named = list(look_at_registry(f"{address}/acme/none:v1", ClientSettings()))
        assert f"there is no {address}/acme/none:v1" in named[1].message
    (gone,) = look_at_registry(address, ClientSettings())
    assert gone.level is Level.PROBLEM


@pytest.mark.parametrize("host", ["http://ghcr.io", "acme", "a b"])
def test_what_is_no_registry(host: str) -> None:
    with pytest.raises(InvalidReference):
        list(look_at_registry(host, ClientSettings()))


def test_a_look_that_fails_is_a_finding() -> None:
    def look() -> Iterator[Finding]:
        yield ok("a", "well")
        raise PermissionError(13, "Permission denied", "/x")

    found = list(looked("all", look))
    assert [f.level for f in found] == [Level.OK, Level.PROBLEM]
    assert found[1].message == "/x: Permission denied"
