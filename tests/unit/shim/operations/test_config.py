"""The configuration file: what it may hold, and what everybody is told who gets it wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from enum import StrEnum
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from modelcar.errors import StorageError, UsageError
from modelcar.serving.config.reading import load, load_file
from modelcar.serving.config.schema import json_schema, reference_page
from modelcar.serving.config.shape import nested, settings_of
from registry_shim.operations.settings import NodeSettings


class Colour(StrEnum):
    RED = "red"
    """As a rose. Or so."""
    GREEN = "green"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A leaf.

    Attributes:
        name: what it is called,
            at length.
        size: bytes of it.
    """

    name: str
    size: int = 5

    def __post_init__(self) -> None:
        if self.size == 13:
            raise UsageError("size is unlucky")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A tree."""

    colour: Colour = Colour.RED
    """Its colour."""
    leaves: tuple[Leaf, ...] = ()
    """Its leaves."""
    best: Leaf | None = None
    """The best of them."""
    rate: int = 0
    """Bytes a second that it grows."""
    patience: float = 1.5
    """Seconds that it waits."""
    count: int = 1
    """How many."""
    opens: time | None = None
    """When it opens."""
    tall: bool = False
    """Whether it is tall."""
    file: Path | None = None
    """Where it lies."""
    rooms: Mapping[str, int] = field(default_factory=dict)
    """Bytes for each."""
    steps: tuple[float, ...] = (1.0,)
    """Seconds between each two."""


def problems(text: str, cls: type = Tree) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load(text, cls, name="node.yaml")
    return list(caught.value.reasons)


def test_everything_at_once() -> None:
    text = """
colour: green
leaves:
  - {name: 1.10, size: 2KiB}
  - name: true
best: {name: one}
rate: 100Mbit/s
patience: 1m30s
count: 0
opens: 22:00
tall: true
file: /a/b
rooms: {cellar: 1.5GB}
steps: [250ms, 2]
"""
    assert load(text, Tree) == Tree(
        colour=Colour.GREEN,
        leaves=(Leaf(name="1.10", size=2048), Leaf(name="true")),
        best=Leaf(name="one"),
        rate=12_500_000,
        patience=90.0,
        count=0,
        opens=time(22),
        tall=True,
        file=Path("/a/b"),
        rooms={"cellar": 1_500_000_000},
        steps=(0.25, 2.0),
    )


def test_an_empty_document_is_the_defaults() -> None:
    assert load("", Tree) == load("# nothing\n", Tree) == load("{best: null, opens: ~}", Tree) == Tree()


@pytest.mark.parametrize("path", ["~", "~/cache", "~shim/cache"])
def test_a_home_folder_is_written_out(path: str) -> None:
    """A folder of the name `~` would be made, wherever the shim was started."""
    expected = f"node.yaml:1: file is a path written out in full, not '{path}': no shell reads it"
    assert problems(f"file: '{path}'") == [expected]


def test_every_problem_is_told_with_its_line_and_path() -> None:
    text = """\
colours: red
leaves:
- {nam: a}
- {name: a, size: 13}
rate: fast
rooms: {a: b}
tall: yes
tall: true
"""
    assert problems(text) == [
        "node.yaml:8: tall stands there twice",
        "node.yaml:1: colours is not a setting; did you mean colour?",
        "node.yaml:3: leaves[0].nam is not a setting; did you mean name?",
        "node.yaml:3: leaves[0].name is missing",
        "node.yaml:4: leaves[1] size is unlucky",
        'node.yaml:5: rate is bytes a second, or a rate such as "100MiB/s" or "1Gbit/s", not \'fast\'',
        "node.yaml:6: rooms.a is bytes, or a size such as \"20GiB\", not 'b'",
        "node.yaml:7: tall is true or false, not 'yes'",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("count: 20GiB", "count is a whole number, not '20GiB'"),
        ("count: 1.5", "count is a whole number, not '1.5'"),
        ("count: 1_000", "count is a whole number, not '1_000'"),
        ("count: ٣", "count is a whole number"),
        ("count:", "count has no value"),
        ("patience: .inf", "patience is seconds"),
        ("patience: nan", "patience is seconds"),
        ("patience: 5x", "patience is seconds"),
        ("rate: 0.3B/s", "rate is bytes a second"),
        ("opens: 25:00", "opens is a time of day"),
        ("opens: 7:00", "opens is a time of day"),
        ("colour: blue", "colour is one of red, green, not 'blue'"),
        ("leaves: {name: a}", "leaves is a list, not a mapping"),
        ("best: [a]", "best is a mapping of settings, not a list"),
        ("file: [a]", "file is a path, not a list"),
        ("rooms: 3", "rooms is a mapping, not '3'"),
        ("[a]: 3", "the document has a key that is not a word"),
        ("<<: {count: 3}", "<< is not a setting"),
        ("- a", "the document is a mapping of settings, not a list"),
        ("leaves: &a [*a]", "leaves[0] is a mapping of settings"),
    ],
)
def test_nothing_is_guessed(text: str, problem: str) -> None:
    (told,) = problems(text)
    assert told.startswith("node.yaml:1: " + problem)


@pytest.mark.parametrize("text", ["{", "a: b: c", "\t- x", "%YAML 9", "a: !!python/object:os.system x", "--- 1\n--- 2"])
def test_what_is_not_yaml(text: str) -> None:
    with pytest.raises(UsageError, match=r"node\.yaml"):
        load(text, Tree, name="node.yaml")


def test_the_environment_and_other_files_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    assert load("file: ${SECRET}", Tree).file == Path("${SECRET}")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*none: No such file"):
        load_file(tmp_path / "none", Tree)
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_file(tmp_path / "bytes", Tree)
    (tmp_path / "long").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(UsageError, match="more than"):
        load_file(tmp_path / "long", Tree)


@pytest.mark.parametrize(
    ("document", "valid"),
    [
        ({}, True),
        ({"leaves": [{"name": "a", "size": "2KiB"}], "rate": "1Gbit/s", "patience": "1h30m", "opens": "22:00"}, True),
        ({"leaves": [{}]}, False),
        ({"colour": "blue"}, False),
        ({"count": "2KiB"}, False),
        ({"other": 1}, False),
        ({"best": None, "rooms": {"a": 3}}, True),
    ],
)
def test_the_schema_says_what_the_loader_does(document: dict[str, Any], valid: bool) -> None:
    schema = json_schema(Tree, title="tree")
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid(document) is valid


def test_the_page_has_every_setting() -> None:
    page = reference_page(Tree, heading="Trees", introduction="All of them.")
    assert "| `patience` | time | `1.5s` | Seconds that it waits. |" in page
    assert "| `colour` | `red`, `green` | `red` | Its colour. `red`: as a rose. Or so. |" in page
    assert "## `leaves[]`" in page
    assert "| `name` | text | required | What it is called, at length. |" in page


def every_settings_class(cls: type = NodeSettings) -> set[type]:
    return {cls}.union(*(every_settings_class(inner) for setting in settings_of(cls) for inner in nested(setting.kind)))


def test_every_setting_is_explained_and_no_secret_is_one() -> None:
    classes = every_settings_class()
    assert len(classes) > 5
    for cls in classes:
        for setting in settings_of(cls):
            assert setting.doc.endswith((".", "?")), f"{cls.__name__}.{setting.name} is not explained"
            secret = any(word in setting.name for word in ("password", "secret", "token", "key", "credential"))
            is_number = setting.kind in (int, float)
            assert not secret or is_number or setting.kind is Path, f"{cls.__name__}.{setting.name}: files only"


def test_a_node_needs_nothing() -> None:
    assert load("", NodeSettings) == NodeSettings()


def test_a_node_with_everything() -> None:
    text = """
root: /var/lib/registry-shim
tls: {certificate_file: /a.pem, key_file: /a.key}
authentication: {htpasswd_file: /users}
limits: {header_bytes: 32KiB, header_seconds: 5s}
log: {format: json, level: info}
traces: {endpoint: "http://127.0.0.1:4318/v1/traces"}
mirror: {upstreams: [{registry: ghcr.io}]}
space: {budget: 200GiB}
"""
    settings = load(text, NodeSettings)
    assert settings.limits.header_bytes == 32768
    assert settings.mirror.upstreams[0].registry == "ghcr.io"
    assert problems("traces: {endpoint: localhost}", NodeSettings)[0].startswith("node.yaml:1: traces 'localhost'")


@pytest.mark.slow
def test_aliases_do_not_multiply_without_end() -> None:
    policies = ",".join(["a"] * 1000)
    rules = "".join("   - *r\n" for _ in range(1000))
    text = f"gate:\n  rules:\n   - &r {{images: '**', policies: [{policies}]}}\n{rules}"
    assert "one value too many" in problems(text, NodeSettings)[-1]


def test_a_thousand_problems_are_told_as_some() -> None:
    with pytest.raises(UsageError, match=r"and 49 more, at least\)$") as caught:
        load("".join(f"u{i}: 1\n" for i in range(1000)), Tree)
    assert len(caught.value.reasons) == 50


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("patience: 1e300", "patience is at most 1000000000, not 1e300"),
        ("count: 99999999999999999999", "count is at most 1000000000"),
        ("rate: 9999999999PB/s", "rate is at most 1152921504606846976"),
        ("steps: [-1e300]", "steps[0] is at most"),
    ],
)
def test_no_number_is_beyond_what_clocks_and_files_can_do(text: str, problem: str) -> None:
    assert problem in problems(text)[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: b\nc: \x07", "node.yaml:2 is not YAML: it has the character '\\x07'"),
        ("[" * 1000, "node.yaml is not YAML: it is nested too deeply"),
        ("a: b\n---\nc: d", "node.yaml:2 is not YAML: found another document"),
    ],
)
def test_what_is_not_yaml_is_told_where(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(text, Tree, name="node.yaml")
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("precache: {parallel: 1000000}", "parallel is from 1 to 64"),
        ("gate: {remembered: 99999999999999999999999}", "gate.remembered is at most"),
    ],
)
def test_a_node_is_not_begun_with_what_no_machine_has(text: str, problem: str) -> None:
    assert problem in problems(text, NodeSettings)[0]
