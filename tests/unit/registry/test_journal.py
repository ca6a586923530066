"""What an earlier process left is found under whatever name the registry is given, with the way that it had come to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.oci import Reference
from modelcar.registry.dialects import Way, canonical
from modelcar.registry.journal import Journal, Standing

CONTENT = "sha256:" + "a" * 64


def note(folder: Path, registry: str, standing: Standing) -> None:
    with Journal(folder).upload(registry, "org/model", CONTENT, 10) as record:
        record.note(standing)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ghcr.io", "GHCR.io"),
        ("ghcr.io", "ghcr.io:443"),
        ("docker.io", "registry-1.docker.io"),
        ("index.docker.io", "docker.io"),
        ("r.example", "r.example."),
    ],
)
def test_one_registry_has_one_name(tmp_path: Path, first: str, second: str) -> None:
    note(tmp_path, first, Standing(location="https://r/u"))
    with Journal(tmp_path).upload(second, "org/model", CONTENT, 10) as record:
        assert record.find() == Standing(location="https://r/u")


def test_other_ports_are_other_registries() -> None:
    assert canonical("r.example:5000") != canonical("r.example")


def test_a_repository_without_a_registry_is_dockers() -> None:
    short, long = Reference.parse("model:v1"), Reference.parse("index.docker.io/library/model:v1")
    assert (canonical(short.registry), short.repository) == (canonical(long.registry), long.repository)


def test_the_way_is_kept(tmp_path: Path) -> None:
    standing = Standing(location="https://r/u", least=5, way=Way.PIECES, piece=4 << 20, offset=6, sending=4)
    note(tmp_path, "r", standing)
    with Journal(tmp_path).upload("r", "org/model", CONTENT, 10) as record:
        assert record.find() == standing


def test_entries_of_an_older_version_are_taken(tmp_path: Path) -> None:
    note(tmp_path, "r", Standing(location="https://r/u"))
    (file,) = tmp_path.glob("*.json")
    entry = json.loads(file.read_bytes())
    del entry["way"], entry["piece"], entry["offset"], entry["sending"]
    file.write_text(json.dumps(entry))
    with Journal(tmp_path).upload("r", "org/model", CONTENT, 10) as record:
        assert record.find() == Standing(location="https://r/u")


@pytest.mark.parametrize(
    "change",
    [
        {"way": "sideways"},
        {"piece": "x"},
        {"offset": "1"},
        {"offset": -1},
        {"offset": 11},
        {"offset": 6, "sending": 5},
    ],
)
def test_a_damaged_entry_is_none(tmp_path: Path, change: dict[str, object]) -> None:
    note(tmp_path, "r", Standing(location="https://r/u"))
    (file,) = tmp_path.glob("*.json")
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **change}))
    with Journal(tmp_path).upload("r", "org/model", CONTENT, 10) as record:
        assert record.find() is None


def test_an_entry_that_was_killed_while_it_grew_shorter(tmp_path: Path) -> None:
    note(tmp_path, "r", Standing(location="https://r/u"))
    (file,) = tmp_path.glob("*.json")
    file.write_bytes(file.read_bytes() + b"0.5}")
    with Journal(tmp_path).upload("r", "org/model", CONTENT, 10) as record:
        assert record.find() == Standing(location="https://r/u")


def test_what_is_no_news_is_not_written(tmp_path: Path) -> None:
    standing = Standing(location="https://r/u", offset=1)
    with Journal(tmp_path).upload("r", "org/model", CONTENT, 10) as record:
        record.note(standing)
        (file,) = tmp_path.glob("*.json")
        file.write_bytes(b"")
        record.note(standing)
        assert file.stat().st_size == 0
        record.note(replace(standing, offset=2))
        assert record.find() == replace(standing, offset=2)
        record.clear()
        record.note(replace(standing, offset=2))
        assert record.find() == replace(standing, offset=2)
