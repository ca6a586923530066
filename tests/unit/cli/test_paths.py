"""Options and arguments that are paths: none takes the empty one, which `"$UNSET"` becomes, for the current folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from modelcar.cli import cli
from modelcar.cli.options import NamedPath
from registry_shim.cli import cli as shim
from registry_shim.cli import main as shim_main
from tests.unit.cli.conftest import ModelcarCli

FOR_FILES = {"DIR", "FILE", "FOLDER", "PATH", "PREFIX", "SOCKET"}


def parameters(group: click.Group, words: str) -> Iterator[tuple[str, click.Parameter]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from parameters(command, f"{words} {name}")
        else:
            yield from ((f"{words} {name} {parameter.opts[0]}", parameter) for parameter in command.params)


PARAMETERS = [*parameters(cli, "modelcar"), *parameters(shim, "registry-shim")]


@pytest.mark.parametrize(
    "parameter",
    [
        pytest.param(parameter, id=where)
        for where, parameter in PARAMETERS
        if isinstance(parameter.type, click.Path | click.File) or parameter.metavar in FOR_FILES
    ],
)
def test_a_path_is_named(parameter: click.Parameter) -> None:
    assert isinstance(parameter.type, NamedPath)
    with pytest.raises(click.BadParameter, match="an empty path names nothing"):
        parameter.type.convert("", parameter, None)
    for value in ("a\0b", "a\ud800b"):  # which come of configurations, not of words
        with pytest.raises(click.BadParameter, match=r"NUL|UTF-8"):
            parameter.type.convert(value, parameter, None)


@pytest.mark.parametrize("words", [["keygen", "-o", ""], ["inject", "-f", ""]])
def test_an_empty_path_is_wrong_usage(
    modelcar: ModelcarCli, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    modelcar.refusal(2, *words)
    assert list(tmp_path.iterdir()) == []


def test_of_the_shim_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert shim_main(["hosts-toml", "-o", "", "--registry", "r.example", "--shim", "http://127.0.0.1:5000"]) == 2
    assert "an empty path names nothing" in capsys.readouterr().err


def test_an_empty_name_is_no_key(modelcar: ModelcarCli) -> None:
    complaint = modelcar.refusal(2, "verify", "localhost:1/a:b", "--key", "")
    assert complaint.line == "an empty name names no key"


@pytest.mark.parametrize("folder", ["/", ".", "..", "./"])
def test_a_folder_is_no_name_for_keys(
    modelcar: ModelcarCli, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    complaint = modelcar.refusal(2, "keygen", "-o", folder)
    assert complaint.line.endswith(" is a folder, and what the files are called is missing")
    assert list(tmp_path.iterdir()) == []


def test_an_expression_that_is_no_text(modelcar: ModelcarCli) -> None:
    issuer = ("--certificate-oidc-issuer", "x")
    complaint = modelcar.refusal(2, "verify", "localhost:1/a:b", "--certificate-identity-regexp", "a\udcff", *issuer)
    assert complaint.line == "the subject: 'a\\udcff' is not a regular expression: it is not valid UTF-8"
