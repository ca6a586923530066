"""What was pushed to a node, as people look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry_shim.distribution.repositories import Repositories
from registry_shim.space.pushed import Pushed, PushedImage
from tests.unit.shim.space.node import BLOCK, Node


class Own(Node):
    """Whose images were pushed to it: `repository:tag`."""

    def repository(self, name: str) -> tuple[Any, str]:
        path, _, tag = name.partition(":")
        return Repositories(self.root / "repositories")[path], tag


@pytest.fixture
def own(tmp_path: Path) -> Own:
    return Own(tmp_path)


def test_nothing_was_pushed(tmp_path: Path) -> None:
    assert Pushed(tmp_path).images() == []


def test_images_have_names_and_sizes(own: Own) -> None:
    image = own.image("acme/b:v1", own.layer(1, blocks=3))
    own.repository("acme/b:v1")[0].set_tag("latest", image.digest)
    bare = own.image("acme/a", own.layer(2), config=b"{ }")
    own.image(f"acme/b:sha256-{image.digest.hex}.sig", own.layer(3), config=b"{1}")
    first, second = Pushed(own.root).images()
    assert first == PushedImage(digest=bare.digest, names=(f"acme/a@{bare.digest}",), size=BLOCK + 3)
    assert (second.digest, second.names) == (image.digest, ("acme/b:latest", "acme/b:v1"))
    assert second.size == 3 * BLOCK + 2 + BLOCK + 3, "with its signature"


def test_what_is_pushed_later_is_seen(own: Own) -> None:
    pushed = Pushed(own.root)
    assert pushed.images() == []
    own.image("acme/a:v1", own.layer(1))
    assert [image.names for image in pushed.images()] == [("acme/a:v1",)]
    own.repository("acme/a:v1")[0].remove_tag("v1")
    assert [image.names[0].partition("@")[0] for image in pushed.images()] == ["acme/a"]
