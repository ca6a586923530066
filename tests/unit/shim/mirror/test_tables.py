"""Model indexes: layers are cut along the chunk table of their image, and one that lies harms nobody else."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from modelcar.cache import indexes
from modelcar.cache.cache import Cache
from modelcar.cache.indexes import Indexes
from modelcar.cache.origin import Origin
from modelcar.checkpoint import open_checkpoint
from modelcar.files import ReadAt
from modelcar.layers.index import INDEX_PATH, IndexedLayer, ModelIndex
from modelcar.layers.outline import outline_index_layer
from modelcar.lazy.scheduler import Scheduler
from modelcar.lazy.settings import FetchSettings
from modelcar.lazy.sources import SourceKind
from modelcar.oci import Descriptor, Digest, Index, Manifest
from modelcar.oci.media_types import LAYER_TAR
from modelcar.packaging.base import DEFAULT_PLATFORMS, holder_base
from modelcar.packaging.build import build_image
from modelcar.packaging.inspect import index_layer_of, parse_index_layer
from modelcar.store import LocalStore
from modelcar.store.layout import OciLayout
from registry_shim.mirror.settings import MirrorSettings, UpstreamSettings
from registry_shim.mirror.tables import Tables
from registry_shim.testing import running_mirror
from tests.support.checkpoints import make_checkpoint
from tests.support.chunks import MemorySource, Reports
from tests.support.scripted_registry import Default, Reply, Request, ScriptedRegistry, error
from tests.support.waiting import eventually

from .conftest import HOST, REPO, Client, MakeMirror, put

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Model:
    """An image of a checkpoint; `layer` is its largest."""

    blobs: dict[str, bytes]
    index: Index
    manifest: Manifest
    model_index: ModelIndex

    @property
    def layer(self) -> IndexedLayer:
        return max(self.model_index.layers, key=lambda layer: layer.size)

    @property
    def index_layer(self) -> Descriptor:
        layer = index_layer_of(self.manifest)
        assert layer is not None
        return layer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("model")
    store = LocalStore(folder / "home")
    checkpoint = make_checkpoint(folder / "checkpoint", shards=1, elements=5_000_000)
    with store.session():
        root = build_image(open_checkpoint(str(checkpoint)), store, [holder_base(DEFAULT_PLATFORMS[0])]).index
        blobs = {}
        for digest in store.content.digests():
            with store.content.open(digest) as reader:
                blobs[str(digest)] = reader.read()
    index = Index.parse(blobs[str(root.digest)])
    manifest = Manifest.parse(blobs[str(index.manifests[0].digest)])
    layer = index_layer_of(manifest)
    assert layer is not None
    return Model(blobs, index, manifest, parse_index_layer(blobs[str(layer.digest)]))


def offer(upstream: ScriptedRegistry, model: Model, manifest: Manifest | None = None) -> None:
    """Publish the model, or another manifest over its blobs."""
    upstream.blobs.update(model.blobs)
    put(upstream, manifest or model.manifest, "v1")


def ranges(upstream: ScriptedRegistry, digest: Digest) -> list[str]:
    return [r.headers.get("Range", "") for r in upstream.requests("GET", f"/blobs/{digest}")]


def with_index(model: Model, change: Callable[[IndexedLayer], IndexedLayer]) -> tuple[Manifest, Descriptor, bytes]:
    """The image with another index layer."""
    changed = replace(model.model_index, layers=tuple(change(layer) for layer in model.model_index.layers))
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        member = tarfile.TarInfo(INDEX_PATH)
        member.size = len(raw := changed.to_json())
        tar.addfile(member, io.BytesIO(raw))
    layer = Descriptor.of(LAYER_TAR, content.getvalue(), annotations=model.index_layer.annotations)
    layers = tuple(layer if old == model.index_layer else old for old in model.manifest.layers)
    return model.manifest.edited(layers=layers), layer, content.getvalue()


def test_the_index_is_fetched_as_soon_as_a_manifest_passes_by(
    mirror: MakeMirror, upstream: ScriptedRegistry, model: Model
) -> None:
    offer(upstream, model)
    client = mirror()
    client.manifest("v1")
    assert client.blob(model.layer.digest, Range="bytes=0-0").status == 206
    order = [r.path.rpartition("/")[2] for r in upstream.requests("GET", "/blobs/")]
    assert order.index(str(model.index_layer.digest)) < order.index(str(model.layer.digest))


def test_what_is_no_index_is_read_once_and_few_are_kept(
    mirror: MakeMirror, upstream: ScriptedRegistry, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []

    def outline(read_at: ReadAt, size: int) -> ModelIndex:
        parsed.append(size)
        return outline_index_layer(read_at, size)

    monkeypatch.setattr(indexes, "outline_index_layer", outline)
    monkeypatch.setattr(indexes, "_REMEMBERED", 1000)
    sound, client = model.index_layer, mirror()
    junk = Descriptor.of(LAYER_TAR, b"junk" * 100, annotations=sound.annotations)
    upstream.blobs[str(junk.digest)] = b"junk" * 100
    layers = tuple(junk if old == sound else old for old in model.manifest.layers)
    offer(upstream, model, model.manifest.edited(layers=layers))
    client.manifest("v1")
    for _ in range(3):
        assert client.blob(model.layer.digest, Range="bytes=0-0").status == 206
    assert parsed == [junk.size]
    put(upstream, model.manifest, "v2")
    client.manifest("v2")
    eventually(lambda: parsed == [junk.size, sound.size], "another index is read")
    put(upstream, model.manifest.edited(layers=layers, annotations={"a": "b"}), "v3")
    client.manifest("v3")
    eventually(lambda: parsed == [junk.size, sound.size, junk.size], "the first was forgotten")


def test_layers_are_cut_along_their_table(
    mirror: MakeMirror, upstream: ScriptedRegistry, model: Model, tmp_path: Path
) -> None:
    offer(upstream, model)
    client = mirror()
    client.manifest("v1")
    upstream.on("GET", f"/blobs/{model.layer.digest}", error(404, "BLOB_UNKNOWN"), times=1000)  # it never completes
    assert client.blob(model.layer.digest).status == 502
    names = {path.name for path in (tmp_path / "root" / "partial").glob(f"sha256/{model.layer.digest.hex}/*")}
    assert len(names) == 1
    assert "plain" not in names


def test_a_damaged_chunk_never_reaches_a_reader(mirror: MakeMirror, upstream: ScriptedRegistry, model: Model) -> None:
    """Chunk by chunk: with a table nobody waits for the digest of the whole to find out."""
    offer(upstream, model)
    client = mirror()
    client.manifest("v1")
    right = model.blobs[str(model.layer.digest)]
    damaged = []

    def once(request: Request, default: Default) -> Reply:
        reply = default()
        damaged.append(request)
        return replace(reply, body=reply.body[:100] + bytes([reply.body[100] ^ 1]) + reply.body[101:])

    upstream.on("GET", f"/blobs/{model.layer.digest}", once)
    assert client.blob(model.layer.digest).body == right
    assert damaged


def test_an_index_that_lies_is_done_without(mirror: MakeMirror, upstream: ScriptedRegistry, model: Model) -> None:
    def lie(layer: IndexedLayer) -> IndexedLayer:
        chunks = tuple(replace(chunk, digest=Digest.of(b"a lie")) for chunk in layer.chunks)
        return replace(layer, chunks=chunks)

    manifest, layer, content = with_index(model, lie)
    offer(upstream, model, manifest)
    upstream.blobs[str(layer.digest)] = content
    client = mirror()
    client.manifest("v1")
    for _ in range(2):
        answer = client.blob(model.layer.digest)
        assert (answer.status, answer.body) == (200, model.blobs[str(model.layer.digest)])


def test_an_index_that_is_none_is_done_without(mirror: MakeMirror, upstream: ScriptedRegistry, model: Model) -> None:
    manifest, layer, _ = with_index(model, lambda layer: layer)
    other = Descriptor.of(LAYER_TAR, b"no tar", annotations=layer.annotations)
    upstream.blobs[str(other.digest)] = b"no tar"
    layers = tuple(other if old == layer else old for old in manifest.layers)
    offer(upstream, model, manifest.edited(layers=layers))
    client = mirror()
    client.manifest("v1")
    assert client.blob(model.layer.digest).body == model.blobs[str(model.layer.digest)]


def test_an_index_that_came_wrong_from_peers_is_fetched_anew(model: Model, tmp_path: Path) -> None:
    right = model.blobs[str(model.index_layer.digest)]
    liars = [MemorySource(bytes(len(right)), name=f"peer{n}", kind=SourceKind.PEER) for n in range(2)]
    router = Reports(*liars, MemorySource(right))
    scheduler = Scheduler(FetchSettings(backoff=0.01, backoff_limit=0.05))
    cache = Cache(tmp_path, OciLayout(tmp_path), scheduler, lambda _descriptor, _origins: router)
    with ExitStack() as ending:
        ending.callback(scheduler.close)
        ending.callback(cache.close)
        tables = Tables(Indexes(cache), 5.0)
        ending.callback(tables.close)
        future = tables.begin(Origin(registry=HOST, repository=REPO), model.index_layer)
        assert future is not None
        assert future.result(20).grids[model.layer.digest].verifiable
    assert all(liar.sent == len(right) for liar in liars)


def test_an_index_that_does_not_come_in_time_is_done_without(
    mirror: MakeMirror, upstream: ScriptedRegistry, model: Model
) -> None:
    offer(upstream, model)
    upstream.on("GET", f"/blobs/{model.index_layer.digest}", Reply(200, body=b"x", stall=60), times=50)
    client = mirror(index_seconds=0.1)
    client.manifest("v1")
    assert client.blob(model.layer.digest, Range="bytes=0-9").body == model.blobs[str(model.layer.digest)][:10]


def test_what_is_known_survives_a_restart(upstream: ScriptedRegistry, model: Model, tmp_path: Path) -> None:
    offer(upstream, model)
    settings = MirrorSettings(upstreams=(UpstreamSettings(registry=HOST, urls=(upstream.url,), timeout=5.0),))
    with running_mirror(settings, tmp_path / "root") as address:
        Client(address).manifest("v1")
        assert Client(address).blob(model.index_layer.digest).status == 200
    with running_mirror(settings, tmp_path / "root") as address:
        upstream.on("GET", f"/blobs/{model.layer.digest}", error(404, "BLOB_UNKNOWN"), times=1000)
        assert Client(address).blob(model.layer.digest).status == 502  # not a word of its manifest this time
    names = {path.name for path in (tmp_path / "root" / "partial").glob(f"sha256/{model.layer.digest.hex}/*")}
    assert names
    assert "plain" not in names
    assert REPO in (tmp_path / "root").joinpath("upstreams", HOST, "repositories", REPO).as_posix()
