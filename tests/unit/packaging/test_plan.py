"""Which files share a layer, and what the layers are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.errors import UsageError
from modelcar.images.bases import choose_bases
from modelcar.oci import Manifest
from modelcar.packaging.base import DEFAULT_PLATFORMS, scratch_base
from modelcar.packaging.plan import OWN_LAYER_FROM, LayerKind, plan_layers
from modelcar.registry import Registry
from modelcar.store import LocalStore
from modelcar.store.tree import load
from tests.unit.packaging.conftest import Build

SCRATCH = [scratch_base(p) for p in DEFAULT_PLATFORMS]


def test_a_large_tokenizer_has_a_layer_of_its_own_and_is_no_weight_to_modelpack(
    folder: Path, store: LocalStore, build: Build
) -> None:
    with (folder / "tokenizer.model").open("wb") as file:
        file.truncate(OWN_LAYER_FROM)
    image = build(folder, SCRATCH)
    twin = load(store.content, image.modelpack)
    assert isinstance(twin, Manifest)
    own = next(i for i, layer in enumerate(image.layers) if layer.label == "tokenizer.model")
    assert image.layers[own].kind is LayerKind.WEIGHTS  # it lies at the bottom and may be fetched lazily
    kinds = [layer.media_type.split(".model.")[1] for layer in twin.layers]
    assert kinds[own] == "weight.config.v1.tar"
    assert kinds.count("weight.v1.tar") == 3


def test_a_platform_asked_for_twice_is_there_once(store: LocalStore) -> None:
    platform = DEFAULT_PLATFORMS[0]
    with Registry() as registry:
        for base in ("holder", "scratch"):
            assert len(choose_bases(base, [platform, platform], store, registry)) == 1


def test_files_without_weights_need_room_too(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    checkpoint = open_checkpoint(tmp_path)
    assert len(plan_layers(checkpoint, max_layers=3, reserved=2)) == 1
    with pytest.raises(UsageError, match="2 layers leave no room for the model: 3 are taken"):
        plan_layers(checkpoint, max_layers=2, reserved=2)
