"""Layers are hashed in parallel, and the first failure ends it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.errors import SourceChanged
from modelcar.layers.hashing import LayerDigests
from modelcar.packaging import digests
from modelcar.packaging.packed import PackedLayer
from modelcar.packaging.plan import plan_layers
from modelcar.store import LocalStore


def test_a_failure_is_not_kept_waiting_by_the_layers_before_it(
    folder: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = plan_layers(open_checkpoint(folder))[:2]
    finished: list[str] = []

    def hash_layer(layer: Any, *, advance: Any, **rest: Any) -> LayerDigests:
        if layer is second.tar:
            raise SourceChanged("the second one")
        for _ in range(1000):
            time.sleep(0.01)
            advance(1)
        finished.append("the first one")
        raise AssertionError

    monkeypatch.setattr(digests, "hash_layer", hash_layer)
    with pytest.raises(SourceChanged, match="the second one"):
        digests.digest_layers([first, second], store.memo, workers=2)
    assert not finished


def test_an_interruption_between_two_layers_ends_the_first(
    folder: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = plan_layers(open_checkpoint(folder))
    finished: list[str] = []
    submit = ThreadPoolExecutor.submit

    def hash_layer(layer: Any, *, advance: Any, **rest: Any) -> LayerDigests:
        for _ in range(1000):
            time.sleep(0.01)
            advance(1)
        finished.append("the first one")
        raise AssertionError

    def interrupted(pool: ThreadPoolExecutor, job: Any, layer: Any) -> Any:
        if layer is layers[1]:
            raise KeyboardInterrupt
        return submit(pool, job, layer)

    monkeypatch.setattr(digests, "hash_layer", hash_layer)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        digests.digest_layers(layers, store.memo, workers=2)
    assert not finished


def test_every_layer_is_handed_on_as_soon_as_its_digest_is_known(folder: Path, store: LocalStore) -> None:
    layers = plan_layers(open_checkpoint(folder))
    handed: list[PackedLayer] = []
    for _ in range(2):  # hashed, then remembered
        handed.clear()
        found = digests.digest_layers(layers, store.memo, digested=handed.append)
        assert [packed.planned for packed in found] == layers
        assert sorted(handed, key=str) == sorted(found, key=str)


def test_who_takes_the_layers_can_end_it(folder: Path, store: LocalStore) -> None:
    def refuse(*_: object) -> None:
        raise SourceChanged("nobody wants them")

    with pytest.raises(SourceChanged, match="nobody wants them"):
        digests.digest_layers(plan_layers(open_checkpoint(folder)), store.memo, digested=refuse)
