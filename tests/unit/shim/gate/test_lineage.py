"""Which image consists of what: by repository, and after a restart."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelcar.cache.origin import Origin
from modelcar.oci import Descriptor, Digest
from modelcar.oci.media_types import MANIFEST
from registry_shim.gate import lineage as module
from registry_shim.gate.lineage import Known, Lineage

HERE = Origin(registry="ghcr.io", repository="org/llm")
THERE = Origin(registry="ghcr.io", repository="org/other")
LAYER, OTHER = Digest.of(b"layer"), Digest.of(b"other")


def known(name: bytes, *contents: Digest, origin: Origin = HERE, is_evidence: bool = False) -> Known:
    root = Descriptor.of(MANIFEST, name)
    documents, blobs = frozenset({root.digest}), frozenset(contents)
    return Known(origin=origin, root=root, documents=documents, blobs=blobs, is_evidence=is_evidence)


def test_what_lists_a_blob_is_known_by_repository_and_after_a_restart(tmp_path: Path) -> None:
    one, two = known(b"one", LAYER), known(b"two", LAYER, origin=THERE, is_evidence=True)
    lineage = Lineage(tmp_path)
    for each in (one, two):
        lineage.add(each)
    for now in (lineage, Lineage(tmp_path)):
        assert now.listing(HERE, LAYER) == (one,)
        assert now.listing(THERE, LAYER) == (two,)
        assert now.listing(HERE, one.root.digest) == (one,)
        assert now.listing(HERE, OTHER) == ()
        assert now.others(one, LAYER) == (two,)
        assert now.get(HERE, one.root.digest) == one


def test_damaged_half_written_and_forgotten_files_are_none(tmp_path: Path) -> None:
    lineage = Lineage(tmp_path)
    for name in (b"damaged", b"deep", b"old"):
        lineage.add(known(name, LAYER))
    damaged, deep, old = sorted(tmp_path.iterdir())
    deep.write_text("[" * 100_000)
    damaged.write_bytes(b"{")
    long_ago = time.time() - 100 * 86400
    os.utime(old, (long_ago, long_ago))
    (tmp_path / ".new.json.0123").write_bytes(b"half")
    assert Lineage(tmp_path).listing(HERE, LAYER) == ()
    assert {path.name for path in tmp_path.iterdir()} == {damaged.name, deep.name}


def test_who_is_asked_about_again_is_not_forgotten(tmp_path: Path) -> None:
    one, lineage = known(b"one", LAYER), Lineage(tmp_path)
    lineage.add(one)
    (path,) = tmp_path.iterdir()
    os.utime(path, (0, 0))
    lineage.add(one)
    assert Lineage(tmp_path).listing(HERE, LAYER) == (one,)


def test_those_that_nobody_asked_for_for_longest_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    first, second, third = (known(name, LAYER, Digest.of(name)) for name in (b"first", b"second", b"third"))
    lineage = Lineage(tmp_path)
    for each in (first, second, first, third):
        lineage.add(each)
    for now in (lineage, Lineage(tmp_path)):
        assert sorted(each.root.digest for each in now.listing(HERE, LAYER)) == sorted(
            [first.root.digest, third.root.digest]
        )
        assert now.listing(HERE, Digest.of(b"second")) == ()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_disk_that_takes_nothing_keeps_nobody_from_pulling(tmp_path: Path) -> None:
    one, lineage = known(b"one", LAYER), Lineage(tmp_path / "images")
    (tmp_path / "images").rmdir()
    lineage.add(one)
    assert lineage.listing(HERE, LAYER) == (one,)
    assert Lineage(tmp_path / "images").listing(HERE, LAYER) == ()
