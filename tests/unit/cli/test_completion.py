"""What is completed, and that scripts of all three shells hold it; tests/e2e/test_completion.py presses Tab."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click
import pytest

from modelcar.cli import cli
from modelcar.cli.completion.command import SHELLS, script_for
from modelcar.cli.completion.shape import Kind, describe
from registry_shim.cli import cli as shim
from tests.unit.cli.conftest import ModelcarCli

PROGRAM = describe(cli, "modelcar")
VERBS = {" ".join(verb.path): verb for verb in PROGRAM.verbs}


def test_every_verb_is_described_with_all_its_options() -> None:
    context = click.Context(cli)
    assert VERBS[""].verbs == tuple(cli.list_commands(context))
    for words in cli.list_commands(context):
        command = cli.get_command(context, words)
        assert command is not None
        options = {name for p in command.params if isinstance(p, click.Option) for name in (*p.opts, *p.secondary_opts)}
        assert {name for option in VERBS[words].options for name in option.names} == {*options, "-h", "--help"}


@pytest.mark.parametrize(
    ("verb", "option", "kind"),
    [
        ("mount", "--kernel-mount", Kind.CHOICE),
        ("push", "--limit-rate", Kind.TEXT),
        ("attest", "--predicate", Kind.FILE),
        ("sign", "--key", Kind.FILE),
        ("build", "--tag", Kind.IMAGE),
        ("push", "--json", None),
    ],
)
def test_what_stands_behind_options(verb: str, option: str, kind: Kind | None) -> None:
    (found,) = [each for each in VERBS[verb].options if option in each.names]
    assert (found.value.kind if found.value is not None else None) is kind


def test_what_arguments_are() -> None:
    assert [word.kind for word in VERBS["build"].arguments] == [Kind.FILE]
    assert [word.kind for word in VERBS["copy"].arguments] == [Kind.IMAGE, Kind.IMAGE]
    assert [word.kind for word in VERBS["mount"].arguments] == [Kind.IMAGE, Kind.FILE]
    rest = VERBS["rm"].rest
    assert rest is not None
    assert rest.kind is Kind.IMAGE


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("group", "name"), [(cli, "modelcar"), (shim, "registry-shim")], ids=["modelcar", "shim"])
def test_shells_take_the_scripts(shell: str, group: click.Group, name: str, tmp_path: Path) -> None:
    script = script_for(group, name, shell, Path("/home of/it's"))
    assert "@" not in script.replace("$@", "").replace('"${arguments[@]', "").replace("[@]", ""), "a mark is left"
    if shutil.which(shell) is None:
        return
    (tmp_path / "script").write_text(script)
    done = subprocess.run([shell, "-n", tmp_path / "script"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_verb_prints_the_script(modelcar: ModelcarCli, shell: str) -> None:
    assert modelcar("completion", shell) == script_for(cli, "modelcar", shell)
    assert modelcar.json("completion", shell)["shell"] == shell


def test_the_script_finds_the_store_where_the_configuration_says(
    modelcar: ModelcarCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text("home: /srv/models\n")
    monkeypatch.setenv("MODELCAR_CONFIG", str(tmp_path / "c.yaml"))
    assert "home=/srv/models" in modelcar("completion", "bash")


def test_another_shell_is_none_of_ours(modelcar: ModelcarCli) -> None:
    assert "'tcsh' is not one of" in modelcar.refusal(2, "completion", "tcsh").line
