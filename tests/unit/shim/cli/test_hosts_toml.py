"""`registry-shim hosts-toml` as people run it, below a folder that stands for a node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry_shim.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc/containerd").mkdir(parents=True)
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "etc/containerd/config.toml").write_text("version = 2\n")
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Any:
    assert main(["hosts-toml", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_there_and_back(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(root)
    done = told(capsys, "--root", root, "--registry", "ghcr.io")
    assert [(file["path"], file["action"]) for file in done["files"]] == [
        ("/etc/containerd/certs.d/ghcr.io/hosts.toml", "write")
    ]
    assert any("config_path" in note for note in done["notes"])
    assert "etc/containerd/certs.d/ghcr.io/hosts.toml" in files(root)
    told(capsys, "--root", root, "--uninstall")
    assert files(root) == before


def test_a_containerd_without_configuration_gets_one_that_goes_again(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "etc/containerd/config.toml").unlink()
    for _ in range(2):
        done = told(capsys, "--root", root, "--registry", "ghcr.io")
        assert "/etc/containerd/config.toml" in {file["path"] for file in done["files"]}
        assert any("restart" in note for note in done["notes"])
    told(capsys, "--root", root, "--uninstall")
    assert files(root) == set()


def test_dry_runs_show_and_write_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(root)
    done = told(capsys, "--root", root, "--registry", "ghcr.io", "--dry-run")
    assert '+server = "http://127.0.0.1:5000"' in done["files"][0]["diff"]
    assert files(root) == before
    told(capsys, "--root", root, "--registry", "ghcr.io")
    installed = files(root)
    assert [file["action"] for file in told(capsys, "--root", root, "--uninstall", "--dry-run")["files"]] == ["remove"]
    assert files(root) == installed


def test_people_see_the_difference(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hosts-toml", "--root", str(root), "--registry", "docker.io", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "write: /etc/containerd/certs.d/docker.io/hosts.toml" in said.out
    assert "+server =" in said.out
    assert "may boot with images of docker.io" in said.err


def test_the_engines_of_a_node_are_found(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/podman").touch()
    (root / "usr/bin/dockerd").touch()
    done = told(capsys, "--root", root, "--registry", "docker.io")
    assert {file["engine"] for file in done["files"]} == {"containerd", "containers"}


def test_docker_only_if_it_is_asked_for(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = told(capsys, "--root", root, "--registry", "docker.io", "--engine", "docker")
    assert [file["path"] for file in done["files"]] == ["/etc/docker/daemon.json"]
    assert any("no gate" in note for note in done["notes"])


def test_files_for_other_tools_to_hand_out(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(root)
    folder = tmp_path / "out"
    told(capsys, "--root", root, "--registry", "ghcr.io", "--engine", "crio", "-o", folder)
    assert files(folder) == {"etc/containers/registries.conf.d/99-modelcar-shim.conf"}
    assert {path for path in files(root) if not path.startswith("out/")} == before


def test_an_authority_is_copied_for_each_engine(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ca.pem").write_text("PEM")
    arguments = ("--registry", "docker.io", "--shim", "https://n:5000", "--ca", tmp_path / "ca.pem")
    engines = ("--engine", "containerd", "--engine", "podman", "--engine", "docker")
    done = told(capsys, "--root", root, *arguments, *engines)
    copies = [file["path"] for file in done["files"] if file["path"].endswith(".crt")]
    assert len(copies) == 3
    assert all((root / path.lstrip("/")).read_text() == "PEM" for path in copies)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "no registry is listed"),
        (("--registry", "ghcr.io", "--shim", "http://10.0.0.1:1"), 2, "plain HTTP"),
        (("--registry", "ghcr.io", "--exclude-repo", "ghcr.io/a/b"), 2, "whole registry"),
        (("--registry", "ghcr.io", "--engine", "docker"), 2, "docker.io"),
    ],
)
def test_a_no_is_two_lines(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, said: str
) -> None:
    assert main(["hosts-toml", "--root", str(root), *arguments]) == status
    lines = capsys.readouterr().err.splitlines()
    assert said in lines[0]
    assert len(lines) <= 2


def test_a_node_without_engines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hosts-toml", "--root", str(tmp_path), "--registry", "ghcr.io"]) == 2
    assert "no container engine" in capsys.readouterr().err


def test_what_someone_changed_is_left_and_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "--root", root, "--registry", "ghcr.io")
    (root / "etc/containerd/certs.d/ghcr.io/hosts.toml").write_text("# mine")
    for arguments in (["--registry", "ghcr.io"], ["--uninstall"]):
        assert main(["hosts-toml", "--root", str(root), *arguments]) == 1
        assert "was changed" in capsys.readouterr().err
    assert (root / "etc/containerd/certs.d/ghcr.io/hosts.toml").read_text() == "# mine"
