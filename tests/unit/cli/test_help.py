"""`--help` and `--version`: complete, in a screen's width, and quick."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from modelcar import __version__
from modelcar.cli import cli
from tests.unit.cli.conftest import ModelcarCli

PARSERS = "modelcar.scanning.catalog"
TOP = cli.list_commands(click.Context(cli))


def command(words: str) -> click.Command:
    found: click.Command = cli
    for word in words.split():
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), word)
        assert inner is not None
        found = inner
    return found


def within(words: str) -> list[str]:
    """The verbs of a group, in whole; of a verb itself."""
    found = command(words)
    return [f"{words} {name}" for name in found.commands] if isinstance(found, click.Group) else [words]


VERBS = [words for top in TOP for words in within(top)]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_explains_itself_and_all_its_options(modelcar: ModelcarCli, verb: str) -> None:
    out = modelcar(*verb.split(), "--help")
    assert modelcar(*verb.split(), "-h") == out
    lines = out.splitlines()
    assert lines[0].startswith(f"Usage: modelcar {verb} ")
    assert all(len(line) <= 100 for line in lines)
    assert "..." not in out.replace("REF...", "")
    for parameter in command(verb).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.name} says nothing"
            for name in parameter.opts:
                assert name in out
        else:
            assert parameter.make_metavar(click.Context(command(verb))) in lines[0]


def test_the_program_lists_its_verbs_in_whole_sentences(modelcar: ModelcarCli) -> None:
    out = modelcar("--help")
    listed = out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == TOP
    assert all(line.endswith(".") and not line.endswith("...") for line in listed), "a sentence was cut"
    assert "--version" in out


def test_without_arguments_the_help_goes_to_standard_error(modelcar: ModelcarCli) -> None:
    status, out, err = modelcar.run()
    assert (status, out) == (2, "")
    assert err == modelcar("--help")


def test_version(modelcar: ModelcarCli) -> None:
    assert modelcar("--version") == f"modelcar, version {__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_answers_in_json_and_can_be_quiet(verb: str) -> None:
    assert {"as_json", "quiet"} <= {parameter.name for parameter in command(verb).params}


@pytest.mark.parametrize(
    ("arguments", "never"),
    [
        (["--help"], ["rich", "huggingface_hub", "yaml", "jinja2", PARSERS]),
        (["build", "--help"], ["rich", "huggingface_hub", "yaml", "jinja2", PARSERS, "modelcar.scanning.image"]),
        (["--version"], ["rich", "huggingface_hub", "yaml", "urllib3", "modelcar.packaging"]),
        (["list"], ["rich", "huggingface_hub", "yaml", "urllib3", "ssl"]),
    ],
    ids=lambda value: value[0],
)
def test_what_is_not_needed_is_not_loaded(home: object, arguments: list[str], never: list[str]) -> None:
    program = (
        "import sys\nfrom modelcar.cli import main\n"
        f"status = main({arguments!r})\nprint(*sys.modules, file=sys.stderr)\nsys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = done.stderr.split()
    assert "modelcar.cli.program" in loaded
    assert not [module for module in loaded if module.startswith(tuple(never))]
