"""Eviction that is killed between any two steps: what is named is whole, and the rest goes the next time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modelcar.cache.stored import scan
from registry_shim.space.catalogue import Catalogue, read_blob
from registry_shim.space.uses import Uses

from .node import Node, upstream_places

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]


def test_a_killed_eviction_leaves_whole_images_or_none(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.shim.space.crashes", tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    killed = int(done.stdout)
    assert killed > 20
    images = [check(Node(tmp_path / str(step))) for step in range(killed + 1)]
    assert images[0] == 2
    assert images[-1] == 0
    assert images == sorted(images, reverse=True)


def check(node: Node) -> int:
    """Returns how many images there are once a killed eviction is over; then finishes it."""
    found = Catalogue(lambda: upstream_places(node.root), read_blob(node.root)).images()
    stored = scan(node.root, Uses(node.root / "uses.json").of)
    named = [image for image in found if any(":v1" in name for name in image.names)]
    for image in named:
        assert image.is_whole(stored), image.names
        assert all(digest in stored for digest in image.members)
    for registry, repositories in upstream_places(node.root).items():
        for name in repositories.names():
            for tag in repositories[name].tags():
                digest = repositories[name].resolve(tag)
                assert digest is not None
                assert digest in stored, f"{registry}/{name}:{tag} names what is gone"
    space = node.space()
    space.start(node.content)
    space.collect(wanted=1 << 40)
    space.close()
    assert scan(node.root, Uses(node.root / "uses.json").of) == {}
    return len(named)
