"""`--help` and `--version`: complete, in a screen's width, and quick."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from modelcar import __version__
from modelcar.cli import cli
from modelcar.cli.groups import LazyGroup
from registry_shim.cli import cli as shim
from tests.unit.cli.conftest import ModelcarCli

PARSERS = "modelcar.scanning.catalogue"
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


@pytest.mark.parametrize("verb", shim.list_commands(click.Context(shim)))
def test_a_verb_of_the_shim_explains_all_its_options(verb: str) -> None:
    found = shim.get_command(click.Context(shim), verb)
    assert found is not None
    for parameter in found.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.name} says nothing"
            assert parameter.make_metavar(click.Context(found)) != "DIRECTORY", "what all the others call DIR"


def test_the_program_lists_its_verbs_by_what_they_are_for(modelcar: ModelcarCli) -> None:
    out = modelcar("--help")
    assert isinstance(cli, LazyGroup)
    listed = out.partition("Package:\n")[2].splitlines()
    verbs = [line.split()[0] for line in listed if line.startswith("  ")]
    assert verbs == TOP
    assert [line for line in listed if line and not line.startswith("  ")] == [f"{h}:" for h in [*cli.sections][1:]]
    assert len(out.splitlines()) <= 60, "more than a screen"
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "--version" in out


@pytest.mark.parametrize("group", [cli, shim], ids=["modelcar", "registry-shim"])
def test_the_line_of_a_verb_is_what_it_says_itself(group: LazyGroup) -> None:
    for verbs in group.sections.values():
        for verb, line in verbs.items():
            found = group.get_command(click.Context(group), verb)
            assert found is not None
            own = found.get_short_help_str(95)
            assert own == line if len(own) <= 66 else own[:20] == line[:20], "what is too long for a line is shortened"
            assert line.endswith(".")
            assert not line.endswith("...")


@pytest.mark.parametrize("group", [cli, shim], ids=["modelcar", "registry-shim"])
def test_what_may_be_repeated_says_so(group: click.Group) -> None:
    for name, verb, _ in examples_of(group, "…"):
        for option in verb.params:
            if isinstance(option, click.Option) and option.multiple:
                assert re.search("may be repeated|[Oo]f several", option.help or ""), (name, option.opts)


def examples_of(group: click.Group, name: str) -> Iterator[tuple[str, click.Command, list[str]]]:
    """Every verb by its whole name, and the commands that its help ends with."""
    context = click.Context(group, info_name=name)
    for word in group.list_commands(context):
        found = group.get_command(context, word)
        assert found is not None
        if isinstance(found, click.Group):
            yield from examples_of(found, f"{name} {word}")
            continue
        lines = (found.epilog or "").replace("\\\n", " ").splitlines()[2:]
        yield f"{name} {word}", found, [" ".join(line.split()) for line in lines]


EXAMPLES = [*examples_of(cli, "modelcar"), *examples_of(shim, "registry-shim")]


@pytest.mark.parametrize(("name", "verb", "examples"), EXAMPLES, ids=[name for name, _, _ in EXAMPLES])
def test_the_help_of_a_verb_ends_with_commands_that_it_takes(
    name: str, verb: click.Command, examples: list[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    assert 1 <= len(examples) <= 4, "one to three examples, or four where that is one story"
    # Whether the files are there is not what is asked; a folder or file by any name will do.
    monkeypatch.setattr(click.Path, "convert", lambda self, value, *_: Path(value) if self.type else value)
    parsed = 0
    for example in examples:
        for part in re.split(r" \| | && |; ", example.partition(" > ")[0].partition("  #")[0]):
            words = shlex.split(part, comments=True)
            if not words or f"{' '.join(words)} ".startswith(f"{name} ") is False:
                continue
            above = click.Context(cli, **cli.context_settings)
            with verb.make_context(name, words[len(name.split()) :], parent=above):
                parsed += 1
    assert parsed, examples


def test_without_arguments_the_help_goes_to_standard_error(modelcar: ModelcarCli) -> None:
    status, out, err = modelcar.run()
    assert (status, out) == (2, "")
    assert err == modelcar("--help")


def test_version(modelcar: ModelcarCli) -> None:
    assert modelcar("--version") == f"modelcar, version {__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_answers_in_json_and_can_be_quiet(verb: str) -> None:
    assert {"as_json", "quiet"} <= {parameter.name for parameter in command(verb).params}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "never"),
    [
        (["--help"], ["rich", "huggingface_hub", "yaml", "jinja2", PARSERS]),
        (["build", "--help"], ["rich", "huggingface_hub", "yaml", "jinja2", PARSERS, "modelcar.scanning.image"]),
        (["--version"], ["rich", "huggingface_hub", "yaml", "urllib3", "modelcar.packaging"]),
        (["--help"], ["modelcar.registry", "modelcar.cli.verbs", "modelcar.store"]),
        (["list"], ["rich", "huggingface_hub", "yaml", "urllib3", "ssl"]),
    ],
    ids=lambda value: value[0] if value[0].startswith("-") else " ".join(value),
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
