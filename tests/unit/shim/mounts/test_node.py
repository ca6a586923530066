"""Which images the node mounts for a snapshotter: those of its upstreams, that its gate lets through, with an index."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from modelcar.cache.origin import Origin
from modelcar.errors import Denied, InvalidDocument, ModelcarError, NotFound
from modelcar.layers.hashing import Chunk
from modelcar.layers.index import IndexedFile, IndexedLayer, ModelIndex
from modelcar.mounts.figures import MountFigures, figures_of
from modelcar.mounts.host import MountHost
from modelcar.mounts.plan import MountPlan
from modelcar.mounts.records import MountRecord
from modelcar.oci import Descriptor, Digest, Index, Manifest, Reference, media_types
from modelcar.packaging.annotations import LAYER, SNAPSHOT_INDEX, SNAPSHOT_LAYER
from registry_shim.mounts.layered import folder_name
from registry_shim.mounts.node import NodeMounts

NAME = Reference.parse("registry.example/acme/model:v1")
INDEX = Descriptor(media_type=media_types.LAYER_TAR, digest=Digest.of(b"index"), size=9, annotations={LAYER: "index"})
WEIGHTS = Descriptor(
    media_type=media_types.LAYER_TAR,
    digest=Digest.of(b"weights"),
    size=4096,
    annotations={LAYER: "weights", SNAPSHOT_LAYER: "weights", SNAPSHOT_INDEX: str(INDEX.digest)},
)
CONFIG = Descriptor(media_type=media_types.CONFIG, digest=Digest.of(b"{}"), size=2)
MODEL = ModelIndex(
    root="/models",
    layers=(
        IndexedLayer(
            digest=WEIGHTS.digest,
            size=WEIGHTS.size,
            media_type=WEIGHTS.media_type,
            chunks=(Chunk(offset=0, size=4096, digest=Digest.of(b"chunk")),),
            files=(IndexedFile(path="model.safetensors", offset=1024, size=100, role="weights", format="safetensors"),),
        ),
    ),
)


class Upstream:
    """Images, and a gate that denies `denied`."""

    def __init__(self, document: Manifest | Index) -> None:
        self.document = document
        self.denied: set[Digest] = set()
        self.foreign: ModelcarError | None = None

    def origin(self, reference: Reference) -> Origin:
        if self.foreign is not None:
            raise self.foreign
        return Origin(registry=reference.registry, repository=reference.repository)

    def manifest(self, _origin: Origin, target: str | Digest) -> tuple[Descriptor, bytes]:
        assert target == self.document.digest
        return self.document.descriptor, self.document.content

    def admit_repository(self, origin: Origin) -> None:
        pass

    async def admit(self, _origin: Origin, descriptor: Descriptor, _content: bytes) -> tuple[str, ...]:
        await self.admit_blob(_origin, descriptor.digest)
        return ()

    async def admit_blob(self, _origin: Origin, digest: Digest) -> None:
        if digest in self.denied:
            raise Denied("the gate says no")


class Host:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.added: dict[str, tuple[MountRecord, MountPlan]] = {}

    def reading(self, _record: MountRecord) -> Any:
        return self

    def index(self, layer: Descriptor) -> ModelIndex:
        assert layer.digest == INDEX.digest
        return MODEL

    def add(self, record: MountRecord, plan: MountPlan) -> Path:
        self.added[record.id] = (record, plan)
        return Path("/plan.json")

    def mounts(self) -> dict[str, MountRecord]:
        return {id: record for id, (record, _) in self.added.items()}  # noqa: A001  # a mount's

    def figures(self) -> list[MountFigures]:
        return [figures_of(record, plan, None, "no network") for record, plan in self.added.values()]

    def remove(self, id: str) -> None:  # noqa: A002  # a mount's
        del self.added[id]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    found = asyncio.new_event_loop()
    thread = threading.Thread(target=found.run_forever)
    thread.start()
    yield found
    found.call_soon_threadsafe(found.stop)
    thread.join(30)
    found.close()


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def upstream() -> Upstream:
    return Upstream(Manifest(config=CONFIG, layers=(WEIGHTS, INDEX)))


@pytest.fixture
def mounts(host: Host, upstream: Upstream, loop: asyncio.AbstractEventLoop) -> NodeMounts:
    return NodeMounts(cast(MountHost, host), Path("/mounts.sock"), upstream, upstream, loop)


def test_a_layer_of_a_model_is_mounted(mounts: NodeMounts, host: Host, upstream: Upstream) -> None:
    mounts.check(NAME, upstream.document.digest, WEIGHTS.digest)
    added = mounts.add("layers-1", NAME, upstream.document.digest, Path("/target"))
    assert (added.plan, added.socket) == (Path("/plan.json"), Path("/mounts.sock"))
    record, plan = host.added["layers-1"]
    assert (record.target, record.origin.name) == (Path("/target"), "registry.example/acme/model")
    assert [file.path for file in plan.files] == [f"{folder_name(WEIGHTS.digest)}/models/model.safetensors"]
    (shown,) = mounts.all()
    assert (shown["id"], shown["target"], shown["front"]) == ("layers-1", "/target", "")
    assert (shown["repository"], shown["reference"]) == ("registry.example/acme/model", str(NAME))
    assert (shown["present"], shown["size"], shown["trouble"]) == (0, WEIGHTS.size, "no network")
    mounts.remove(Path("/other"))
    assert host.added
    mounts.remove(Path("/target"))
    assert not host.added


def test_other_layers_are_not(mounts: NodeMounts, upstream: Upstream) -> None:
    for layer in (INDEX.digest, Digest.of(b"of another image")):
        with pytest.raises(NotFound, match="can be mounted"):
            mounts.check(NAME, upstream.document.digest, layer)


def test_an_image_without_an_index_is_not(mounts: NodeMounts, upstream: Upstream) -> None:
    upstream.document = Manifest(config=CONFIG, layers=(WEIGHTS,))
    with pytest.raises(NotFound, match="no model index"):
        mounts.check(NAME, upstream.document.digest, WEIGHTS.digest)


def test_an_index_of_images_is_none(mounts: NodeMounts, upstream: Upstream) -> None:
    upstream.document = Index(manifests=())
    with pytest.raises(InvalidDocument, match="no image"):
        mounts.check(NAME, upstream.document.digest, WEIGHTS.digest)


@pytest.mark.parametrize("what", ["image", "layer"])
def test_what_the_gate_denies_is_not(mounts: NodeMounts, host: Host, upstream: Upstream, what: str) -> None:
    upstream.denied.add(upstream.document.digest if what == "image" else WEIGHTS.digest)
    with pytest.raises(Denied):
        mounts.check(NAME, upstream.document.digest, WEIGHTS.digest)
    with pytest.raises(Denied):
        mounts.add("layers-1", NAME, upstream.document.digest, Path("/target"))
    assert not host.added


def test_an_image_of_somebody_else_is_not(mounts: NodeMounts, upstream: Upstream) -> None:
    upstream.foreign = Denied("not one of this node's upstreams")
    with pytest.raises(Denied, match="not one of"):
        mounts.check(NAME, upstream.document.digest, WEIGHTS.digest)
