"""Defaults from the user's and the system's configuration, and what goes before them."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from modelcar.cli import cli, configuration
from modelcar.cli.configuration import Configuration, defaults_of, in_force, read_files
from modelcar.cli.variables import OTHERS, OURS
from modelcar.errors import StorageError, UsageError
from modelcar.registry import ClientSettings
from tests.unit.cli.conftest import ModelcarCli

ROOT = Path(__file__).parents[3]


@pytest.fixture
def own(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, and a system's file beside it that is nobody's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(configuration, "SYSTEM_FILE", tmp_path / "etc" / "config.yaml")
    (tmp_path / "etc").mkdir()
    (tmp_path / "config" / "modelcar").mkdir(parents=True)
    return tmp_path / "config" / "modelcar" / "config.yaml"


def values() -> dict[str, tuple[object, str]]:
    return {name: (setting.value, setting.source) for name, setting in in_force(read_files()).items()}


def test_the_users_file_goes_before_the_systems_setting_by_setting(own: Path, tmp_path: Path) -> None:
    system = tmp_path / "etc" / "config.yaml"
    system.write_text("network: {limit_rate: 1MB/s, ca_file: ca.pem}\nengine: docker\n")
    own.write_text("network: {limit_rate: 5MB/s}\n")
    assert values() == {
        "home": (tmp_path / "home", "MODELCAR_HOME"),
        "network.limit_rate": (5e6, str(own)),
        "network.ca_file": (tmp_path / "etc" / "ca.pem", str(system)),
        "engine": ("docker", str(system)),
    }


def test_the_environment_goes_before_files(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modelcar: ModelcarCli
) -> None:
    own.write_text("home: stores/mine\n")
    assert values()["home"] == (tmp_path / "home", "MODELCAR_HOME")
    monkeypatch.setenv("MODELCAR_HOME", "")
    assert values()["home"] == (own.parent / "stores" / "mine", str(own))
    modelcar.json("list")
    assert str(own.parent / "stores" / "mine") in os.environ["MODELCAR_HOME"]


def test_one_file_may_be_named_and_none(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.write_text("engine: docker\n")
    other = tmp_path / "other.yaml"
    other.write_text("engine: podman\n")
    monkeypatch.setenv("MODELCAR_CONFIG", str(other))
    assert values()["engine"] == ("podman", str(other))
    monkeypatch.setenv("MODELCAR_CONFIG", "")
    assert "engine" not in values()
    monkeypatch.setenv("MODELCAR_CONFIG", str(tmp_path / "none.yaml"))
    with pytest.raises(UsageError, match="is not there"):
        read_files()


def test_one_that_cannot_be_looked_at(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's configuration, unless somebody named it."""
    own.symlink_to(own.name)
    assert "engine" not in values()
    monkeypatch.setenv("MODELCAR_CONFIG", str(own))
    with pytest.raises(StorageError, match=r"cannot read .*: Too many levels"):
        read_files()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("engin: docker", "{}:1: engin is not a setting; did you mean engine?"),
        ("\nnetwork:\n  limit_rate: fast", "{}:3: network.limit_rate is bytes a second"),
        ("network: {plain_http: ['http://x']}", "is not"),
        ("sign: {key: a, keyless: true}", "either a key signs or an identity does"),
        ("engine: nerdctl", "{}:1: engine is one of auto, docker, podman"),
        ("- a", "{}:1: the document is a mapping of settings"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(own: Path, modelcar: ModelcarCli, text: str, said: str) -> None:
    own.write_text(text)
    status, out, err = modelcar.run("list")
    assert (status, out) == (2, "")
    assert said.format(own) in err
    assert modelcar.run("list", "--help")[0] == 0
    assert modelcar.run("completion", "bash")[0] == 0


def test_options_go_before_files(
    own: Path, modelcar: ModelcarCli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (own.parent / "ca.pem").write_text("none")
    own.write_text("network: {limit_rate: 5MB/s, ca_file: ca.pem, plain_http: ['plain.example:5000']}\n")
    seen: list[tuple[float | None, ClientSettings]] = []

    def remembering(settings: ClientSettings, limit: float | None) -> ClientSettings:
        seen.append((limit, settings))
        raise UsageError("enough")

    monkeypatch.setattr("modelcar.cli.verbs.push.remembering", remembering)
    modelcar.run("push", "localhost:5000/a:v1")
    modelcar.run("push", "localhost:5000/a:v1", "--limit-rate", "1MB/s")
    assert [limit for limit, _ in seen] == [5e6, 1e6]
    assert seen[0][1].ca_file == own.parent / "ca.pem"
    assert seen[0][1].plain_http_at == {"plain.example:5000"}
    assert not seen[0][1].plain_http


def test_who_says_whose_word_counts_has_said_it_all(own: Path) -> None:
    own.write_text("verify: {key: [a.pub], policy: [policies]}\n")
    settings = in_force(read_files())
    assert defaults_of(settings)["verify"] == {
        "keys": (str(own.parent / "a.pub"),),
        "files": (str(own.parent / "policies"),),
    }
    assert "verify" not in defaults_of(settings, ["REF", "--certificate-identity=me@example.com"])


def test_keys_that_are_no_files_stay_as_they_are(own: Path) -> None:
    own.write_text("sign: {key: 'env://KEY'}\nverify: {key: ['sha256:00', 'awskms:///alias/x', '~/k.pub']}\n")
    found = values()
    assert found["sign.key"][0] == "env://KEY"
    assert found["verify.key"][0] == ("sha256:00", "awskms:///alias/x", str(Path.home() / "k.pub"))


def test_every_setting_is_the_default_of_options_that_exist() -> None:
    context = click.Context(cli)
    for name, places in configuration._OPTIONS.items():
        for parameter, verbs in places:
            for verb in verbs:
                command = cli.get_command(context, verb)
                assert command is not None
                assert parameter in {p.name for p in command.params}, f"{name}: {verb} has no {parameter}"
    commands = {verb: cli.get_command(context, verb) for verb in cli.list_commands(context)}
    takes_ca = {verb for verb, c in commands.items() if c is not None and "ca_file" in {p.name for p in c.params}}
    assert takes_ca - {"doctor"} == set(dict(configuration._OPTIONS["network.ca_file"])["ca_file"])
    own = {"home", "network.plain_http"}
    assert set(names(Configuration)) == own | set(configuration._OPTIONS)


def names(group: type, path: str = "") -> Iterator[str]:
    for field in dataclasses.fields(group):
        kind = typing.get_type_hints(group)[field.name]
        name = f"{path}.{field.name}".removeprefix(".")
        if dataclasses.is_dataclass(kind):
            yield from names(typing.cast("type", kind), name)
        else:
            yield name


OUR_NAME = re.compile(r"(MODELCAR|REGISTRY_SHIM)_[A-Z][A-Z_]*")
ENVIRONMENTS = ("environ", "environment", "env")
MAY_READ = re.compile(rf"{OUR_NAME.pattern}|\b({'|'.join(ENVIRONMENTS)})\b|\benvvar\b")
"""What stands in every module in which there is something to find."""


def variables_read(path: Path) -> Iterator[str]:
    """The names of variables that a module asks the environment for, and of ours wherever they stand."""
    text = path.read_text()
    if not MAY_READ.search(text):
        return
    tree = ast.parse(text)
    constants = {}
    for statement in tree.body:
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(statement.value, ast.Constant)
        ):
            constants[statement.target.id] = statement.value.value
    for node in ast.walk(tree):
        asked: ast.expr | None = None
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and OUR_NAME.fullmatch(node.value):
            yield node.value
        elif isinstance(node, ast.Subscript) and is_environment(node.value):
            asked = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_environment(node.func.value):
            asked = node.args[0] if node.func.attr in ("get", "setdefault", "pop") else None
        elif isinstance(node, ast.keyword) and node.arg == "envvar":
            asked = node.value
        name = constants.get(asked.id) if isinstance(asked, ast.Name) else getattr(asked, "value", None)
        if isinstance(name, str):
            yield name


def is_environment(node: ast.expr) -> bool:
    return getattr(node, "attr", getattr(node, "id", None)) in ENVIRONMENTS


def test_every_variable_that_is_read_is_documented() -> None:
    found = {
        name
        for path in [*ROOT.glob("modelcar/**/*.py"), *ROOT.glob("registry_shim/**/*.py")]
        for name in variables_read(path)
    }
    listed = {*OURS, *OTHERS}
    named = {name for name in listed if not name.endswith("*")}
    begun = tuple(name.removesuffix("*") for name in listed - named)
    assert {name for name in found if not name.startswith(begun)} == named


def test_the_example_of_the_page_is_one(own: Path) -> None:
    page = (ROOT / "docs/how-to/configure.md").read_text()
    own.write_text(page.partition("```yaml\n")[2].partition("```")[0])
    assert len(values()) == 8


@pytest.mark.slow
def test_doctor_says_what_is_in_force_and_from_where(own: Path, modelcar: ModelcarCli) -> None:
    own.write_text("network: {limit_rate: 5MB/s}\n")
    own.chmod(0o666)
    status, out, _ = modelcar.run("doctor", "--json")
    findings = json.loads(out)["findings"]
    by_subject = {f["subject"]: f for f in findings if f["area"] == "Configuration"}
    assert by_subject["network.limit_rate"]["message"].endswith(f"from {own}")
    assert by_subject["home"]["message"].endswith("from MODELCAR_HOME")
    assert by_subject["files"]["level"] == "note"
    own.write_text("nonsense: 1\n")
    status, out, err = modelcar.run("doctor", "--json")
    assert status == 1
    assert "are problems" in err or "is a problem" in err
    (wrong,) = [f for f in json.loads(out)["findings"] if f["area"] == "Configuration"]
    assert wrong["level"] == "problem"
    assert "nonsense is not a setting" in wrong["message"]
