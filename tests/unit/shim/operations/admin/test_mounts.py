"""What the snapshotter asks, through the control socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import Denied, NotFound, Refused, UsageError
from modelcar.oci import Digest, Reference
from registry_shim.mounts.node import Added
from registry_shim.operations.admin.client import AdminClient
from tests.unit.shim.space.node import Node

from .node import Administered, listening

pytestmark = pytest.mark.slow

NAME, MANIFEST, LAYER = "registry.example/acme/model:v1", Digest.of(b"manifest"), Digest.of(b"layer")
IMAGE = {"reference": NAME, "manifest": str(MANIFEST)}


class Mounts:
    """A `MountsPart` that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.refusal: Exception | None = None

    def check(self, reference: Reference, manifest: Digest, layer: Digest) -> None:
        self.calls.append(("check", str(reference), manifest, layer))
        if self.refusal is not None:
            raise self.refusal

    def add(self, id: str, reference: Reference, manifest: Digest, target: Path) -> Added:  # noqa: A002  # a mount's
        self.calls.append(("add", id, str(reference), manifest, target))
        return Added(id=id, plan=Path("/plan.json"), socket=Path("/mounts.sock"))

    def started(self, id: str, supervisor: int, front: str) -> None:  # noqa: A002  # a mount's
        self.calls.append(("started", id, supervisor, front))

    def remove(self, target: Path) -> None:
        self.calls.append(("remove", target))

    def all(self) -> list[dict[str, Any]]:
        return [{"id": "a"}]


@pytest.fixture
def mounts() -> Mounts:
    return Mounts()


@pytest.fixture
def client(tmp_path: Path, mounts: Mounts) -> Iterator[AdminClient]:
    node = Administered(Node(tmp_path / "root"), mounts=mounts)
    with node.admin() as admin, listening(node.node.root, admin.handle):
        yield AdminClient(node.node.root)


def test_the_life_of_a_mount(client: AdminClient, mounts: Mounts) -> None:
    client.post("mounts/check", layer=str(LAYER), **IMAGE)
    added = client.post("mounts", id="a", target="/target", **IMAGE)
    assert added == {"id": "a", "plan": "/plan.json", "socket": "/mounts.sock"}
    client.post("mounts/started", id="a", supervisor=7, front="fuse")
    assert client.get("mounts") == {"mounts": [{"id": "a"}]}
    client.delete("mounts", target="/target")
    assert mounts.calls == [
        ("check", NAME, MANIFEST, LAYER),
        ("add", "a", NAME, MANIFEST, Path("/target")),
        ("started", "a", 7, "fuse"),
        ("remove", Path("/target")),
    ]


def test_a_no_is_told_as_such(client: AdminClient, mounts: Mounts) -> None:
    mounts.refusal = Denied("the gate says no", hint="ask somebody")
    with pytest.raises(Refused, match="the gate says no") as refused:
        client.post("mounts/check", layer=str(LAYER), **IMAGE)
    assert refused.value.hint == "ask somebody"


def test_a_target_is_an_absolute_path(client: AdminClient, mounts: Mounts) -> None:
    with pytest.raises(UsageError, match="absolute"):
        client.post("mounts", id="a", target="target", **IMAGE)
    with pytest.raises(UsageError, match="absolute"):
        client.delete("mounts", target="")
    assert mounts.calls == []


def test_a_node_without_upstreams_has_no_mounts(tmp_path: Path) -> None:
    node = Administered(Node(tmp_path / "root"))
    with node.admin() as admin, listening(node.node.root, admin.handle), pytest.raises(NotFound, match="not part"):
        AdminClient(node.node.root).get("mounts")
