"""The guide to `modelcar inject`: its example works, its commands are ones, and it names what there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from modelcar.admission.files.workloads import holds_pods
from modelcar.cli import main

GUIDE = (Path(__file__).parents[4] / "docs" / "how-to" / "inject.md").read_text()
(EXAMPLE,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
COMMANDS = [
    command.strip()
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    for line in block.splitlines()
    for command in line.partition(">")[0].split("|")
    if command.strip().startswith("modelcar ")
]


@pytest.mark.parametrize("command", [command for command in COMMANDS if "--resolve" not in command])
def test_its_commands_work(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifests").mkdir()
    for path in ("deployment.yaml", "manifests/deployment.yaml"):
        (tmp_path / path).write_text(EXAMPLE)
    _, *arguments = shlex.split(command.replace("-f -", "-f deployment.yaml"))
    assert main(arguments) == 0


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 4


def test_its_example_is_rewritten(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (tmp_path / "deployment.yaml").write_text(EXAMPLE)
    assert main(["inject", "-f", str(tmp_path / "deployment.yaml")]) == 0
    printed = capfdbinary.readouterr().out.decode()
    assert yaml.safe_load(printed)["spec"]["template"]["spec"]["shareProcessNamespace"] is True
    assert [line for line in EXAMPLE.splitlines() if line not in printed.splitlines()] == []


def test_it_names_kinds_that_are_known() -> None:
    listed = GUIDE.partition("whatever their number in a file:")[2].partition(", JobSet")[0]
    kinds = [word.strip(" \n") for word in re.sub(r"\(.*?\)", "", listed).split(",")]
    assert len(kinds) == 10
    assert all(holds_pods(kind) for kind in kinds)
