"""Known limits are said before the first byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.errors import TooLarge, UsageError
from modelcar.registry.dialects import DIALECTS, UNKNOWN, Way, dialect_named, dialect_of
from modelcar.registry.habits import Habit, Habits
from modelcar.registry.preflight import preflight
from tests.support.scripted_registry import ScriptedRegistry

from .conftest import Client, random_image, reference

GB = 10**9


@pytest.mark.parametrize(
    ("registry", "family"),
    [
        ("ghcr.io", "GHCR"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "Amazon ECR"),
        ("public.ecr.aws", "Amazon ECR Public"),
        ("acme.azurecr.io", "Azure Container Registry"),
        ("europe-docker.pkg.dev", "Google Artifact Registry"),
        ("quay.io", "Quay"),
        ("docker.io", "Docker Hub"),
        ("acme.jfrog.io", "Artifactory"),
        ("harbor.acme.example:8443", "Harbor"),
        ("ghcr.io.evil.example", "unknown"),
        ("localhost:5000", "unknown"),
    ],
)
def test_registries_are_known_by_their_names(registry: str, family: str) -> None:
    assert dialect_of(registry).family == family


def test_no_dialect_begins_with_what_it_refuses() -> None:
    assert len({dialect.family for dialect in DIALECTS}) == len(DIALECTS)
    for dialect in DIALECTS:
        assert dialect.takes(dialect.way)


def test_a_dialect_by_name() -> None:
    assert dialect_named("ghcr") is dialect_of("ghcr.io")
    with pytest.raises(UsageError, match="no registry is of the kind"):
        dialect_named("nothing")


def test_a_layer_that_is_too_large_is_named_with_the_way_out() -> None:
    found = preflight("ghcr.io", dialect_of("ghcr.io"), {"a.safetensors": 12 * GB, "b.safetensors": 9 * GB})
    with pytest.raises(TooLarge, match=r"a\.safetensors has 12\.0 GB, and GHCR takes 10\.0 GB") as caught:
        found.require()
    assert "--max-shard-size 9000MB" in str(caught.value.hint)
    assert caught.value.exit_status == 2


def test_what_would_take_too_long_at_the_measured_rate() -> None:
    layers = {"a.safetensors": 9 * GB}
    slow = preflight("ghcr.io", dialect_of("ghcr.io"), layers, rate=10e6)
    assert "would take 15 minutes" in slow.problems[0]
    assert slow.shard_size == int(0.9 * 6 * GB)
    for rate in (100e6, None):
        preflight("ghcr.io", dialect_of("ghcr.io"), layers, rate=rate).require()


def test_nothing_is_known_of_others() -> None:
    preflight("localhost:5000", UNKNOWN, {"a": 10**15}).require()


def test_a_manifest_that_is_too_large_is_named_with_the_way_out() -> None:
    found = preflight("localhost:5000", UNKNOWN, {"a": 1}, manifests={"sha256:1": 5 << 20, "sha256:2": 1000})
    with pytest.raises(TooLarge, match=r"the manifest of sha256:1 has 5\.2 MB, and a registry takes 4\.2 MB") as caught:
        found.require()
    assert "--max-layers" in str(caught.value.hint)
    assert "convert" not in str(caught.value.hint)
    both = preflight("ghcr.io", dialect_of("ghcr.io"), {"a": 12 * GB}, manifests={"sha256:1": 5 << 20})
    assert len(both.problems) == 2
    assert "--max-shard-size" in both.hint
    assert "--max-layers" in both.hint


@pytest.mark.slow
def test_no_byte_leaves(server: ScriptedRegistry, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(dialect_of("ghcr.io"), largest_layer=1000)
    monkeypatch.setattr("modelcar.registry.uploader.dialect_of", lambda _: small)
    image = random_image()
    with pytest.raises(TooLarge):
        client().push(image.store, image.descriptor, reference(server))
    assert not server.seen


def test_habits_last_a_month_and_no_longer(tmp_path: Path) -> None:
    now = [1000.0]
    Habits(tmp_path, lambda: now[0]).learn("r.example", way=Way.ONCE, streams=False)
    assert Habits(tmp_path, lambda: now[0]).of("r.example").way is Way.ONCE
    Habits(tmp_path, lambda: now[0]).learn("r.example", streams=True)
    again = Habits(tmp_path, lambda: now[0])
    assert (again.of("r.example").way, again.of("r.example").streams) == (Way.ONCE, True)
    now[0] += 31 * 86_400
    assert again.of("r.example").way is None
    again.learn("r.example", rate=5.0)
    assert again.of("r.example") == Habit(rate=5.0, at=now[0]), "what is new does not bring back what is old"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1, "registries": {"r": {"way": "sideways"}}}'])
def test_damaged_habits_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "habits.json").write_bytes(content)
    habits = Habits(tmp_path)
    assert habits.of("r").way is None
    habits.learn("r", streams=True)
    assert Habits(tmp_path).of("r").streams
    assert (tmp_path / "habits.json").stat().st_mode & 0o077 == 0
