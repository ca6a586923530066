"""What manifests say of blobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.cache.origin import Origin
from modelcar.oci import Descriptor, Digest, Index, Manifest
from modelcar.oci.media_types import CONFIG, LAYER_TAR
from modelcar.store.memory import MemoryStore
from registry_shim.mirror import images as module
from registry_shim.mirror.facts import Facts
from registry_shim.mirror.images import Images, Part

ORIGIN = Origin(registry="registry.example", repository="org/model")
OTHER = Origin(registry="registry.example", repository="org/other")
CONFIG_BLOB = Descriptor.of(CONFIG, b"{}")


def layer(n: int) -> Descriptor:
    return Descriptor.of(LAYER_TAR, str(n).encode())


def manifest(*layers: Descriptor) -> Manifest:
    return Manifest(config=CONFIG_BLOB, layers=layers)


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    return Facts(tmp_path, MemoryStore())


def keep(facts: Facts, document: Manifest | Index, origin: Origin = ORIGIN) -> None:
    facts.keep(origin, document.content, document.media_type, document.digest)


def test_blobs_are_found_in_the_manifests_that_are_here(facts: Facts) -> None:
    keep(facts, manifest(layer(1), layer(2)))
    keep(facts, manifest(layer(3)))
    keep(facts, Index(manifests=(manifest(layer(4)).descriptor,)))
    found = Images(facts)
    assert found.find(ORIGIN, layer(3).digest) == Part(layer(3))
    assert found.find(ORIGIN, CONFIG_BLOB.digest) == Part(CONFIG_BLOB)
    assert found.find(ORIGIN, layer(4).digest) is None
    assert found.find(OTHER, layer(3).digest) is None


def test_one_that_comes_later_is_found_too(facts: Facts) -> None:
    found = Images(facts)
    assert found.find(ORIGIN, layer(1).digest) is None
    keep(facts, manifest(layer(1)))
    assert found.find(ORIGIN, layer(1).digest) == Part(layer(1))


def test_a_manifest_that_mentions_a_digest_without_having_it(facts: Facts) -> None:
    document = manifest(layer(2)).edited(annotations={"base": str(layer(1).digest)})
    keep(facts, document)
    assert Images(facts).find(ORIGIN, layer(1).digest) is None


def test_memory_is_bounded(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    keep(facts, manifest(*(layer(n) for n in range(50))))
    found = Images(facts)
    assert found.find(ORIGIN, layer(49).digest) == Part(layer(49))
    assert sum(found.remembered(ORIGIN, layer(n).digest) is not None for n in range(50)) == 10


def test_a_damaged_manifest_hides_no_other(facts: Facts, tmp_path: Path) -> None:
    keep(facts, manifest(layer(1)))
    folder = tmp_path / "upstreams" / ORIGIN.registry / "repositories" / "org" / "model" / "_manifests" / "sha256"
    (folder / Digest.of(b"damaged").hex).write_text("{")
    assert Images(facts).find(ORIGIN, layer(1).digest) == Part(layer(1))
