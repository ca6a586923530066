"""Weights that leave while they arrive: one pass, and nothing is at the registry that is not what it should be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from modelcar.checkpoint import CheckpointFile, HubOptions, pieces
from modelcar.scanning.checkpoint import scan_file
from modelcar.scanning.report import FileReport
from tests.support.hub import Failure, FakeHub, Repo
from tests.support.scanning import findings_in
from tests.support.scripted_registry import Request, ScriptedRegistry
from tests.support.weights import safetensors_bytes
from tests.unit.cli.conftest import ModelcarCli

pytestmark = pytest.mark.slow

SOURCE = "hf://org/name"
SIZE = 6 << 20
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
PICKLE = b"\x80\x02cposix\nsystem\nU\x02idR."


@pytest.fixture
def hub(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.repos["org/name"] = Repo(
            {
                FIRST: safetensors_bytes({"a": ("U8", (SIZE,), b"ab" * (SIZE // 2))}),
                SECOND: safetensors_bytes({"b": ("U8", (SIZE,), b"cd" * (SIZE // 2))}),
                "config.json": b'{"model_type": "llama"}',
            }
        )
        options = partial(HubOptions, endpoint=hub.endpoint, cache=tmp_path / "cache")
        monkeypatch.setattr("modelcar.images.sources.HubOptions", options)
        monkeypatch.setattr(pieces, "PIECE", 1 << 20)
        monkeypatch.setattr("modelcar.checkpoint.hub_source.sleep", lambda _: None)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


@pytest.fixture
def server() -> Iterator[ScriptedRegistry]:
    with ScriptedRegistry() as server:
        yield server


@pytest.fixture
def denying(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the scan find in a file of tensors what it finds in a pickle."""

    def deny(path: str) -> None:
        def scan(file: CheckpointFile, *arguments: Any) -> FileReport:
            report = scan_file(file, *arguments)
            return replace(report, findings=findings_in(path, PICKLE)) if file.path == path else report

        monkeypatch.setattr("modelcar.images.gate.scan_file", scan)

    return deny


def build(modelcar: ModelcarCli, server: ScriptedRegistry, *more: str) -> tuple[str, ...]:
    return ("build", SOURCE, "-t", f"{server.name}/acme/llm:v1", "--push", *more)


def large_patches(server: ScriptedRegistry) -> list[Request]:
    return [request for request in server.requests("PATCH") if len(request.body) > SIZE // 2]


def assert_denied(modelcar: ModelcarCli, server: ScriptedRegistry) -> None:
    status, _, err = modelcar.run(*build(modelcar, server))
    assert status == 1
    assert "the scan says no" in err


def weights_at(server: ScriptedRegistry) -> int:
    return sum(len(blob) > SIZE for blob in server.blobs.values())


def test_a_shard_leaves_while_it_arrives(
    modelcar: ModelcarCli, hub: FakeHub, server: ScriptedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub keeps the second half of the first shard until an upload of it has begun."""

    def pace(n: int) -> None:
        deadline = time.monotonic() + 60
        while hub.sent[FIRST] > SIZE // 2 and len(server.requests("POST")) < 2:  # one tried what the registry takes
            assert time.monotonic() < deadline, "nothing leaves"
            time.sleep(0.01)

    monkeypatch.setattr(hub, "pace", pace)
    built = modelcar.json(*build(modelcar, server))
    assert weights_at(server) == 2
    assert len(large_patches(server)) == 2
    assert 2 * SIZE <= built["sent"] < 2 * SIZE + (1 << 20)
    assert not server.uploads


def test_other_bytes_than_promised_are_never_a_blob(
    modelcar: ModelcarCli, hub: FakeHub, server: ScriptedRegistry
) -> None:
    hub.lies[FIRST] = "ab" * 32
    refusal = modelcar.refusal(1, *build(modelcar, server))
    assert f"{FIRST} of {SOURCE} hashes to" in refusal.line
    assert weights_at(server) == 0
    assert not any(b"abab" in session for session in server.uploads.values()), "the session was deleted"


def test_what_the_scan_denies_is_never_a_blob(
    modelcar: ModelcarCli, hub: FakeHub, server: ScriptedRegistry, denying: Callable[[str], None]
) -> None:
    denying(SECOND)
    assert_denied(modelcar, server)
    assert weights_at(server) <= 1
    assert not any(b"cdcd" in session for session in server.uploads.values()), "the session was deleted"
    assert not any("manifests" in request.path for request in server.requests("PUT"))


def test_what_can_hold_code_waits_for_its_verdict(
    modelcar: ModelcarCli, hub: FakeHub, server: ScriptedRegistry
) -> None:
    hub.repos["org/name"].files = {"pytorch_model.bin": PICKLE + bytes(SIZE), "config.json": b"{}"}
    assert_denied(modelcar, server)
    assert not large_patches(server)
    assert weights_at(server) == 0


def test_a_hub_that_goes_away_leaves_nothing_half(
    modelcar: ModelcarCli, hub: FakeHub, server: ScriptedRegistry
) -> None:
    hub.failures["org/name"] = Failure(503, path=SECOND, after=SIZE // 2)
    assert modelcar.run(*build(modelcar, server))[0] == 3
    assert weights_at(server) <= 1
    assert not any("manifests" in request.path for request in server.requests("PUT"))
    hub.failures.clear()
    before = hub.sent_of(FIRST)
    modelcar(*build(modelcar, server, "-q"))
    assert weights_at(server) == 2
    assert hub.sent_of(FIRST) == before
